// Small integer work that says which rows travel where. All of it stays on the device.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// out [T,K] i32 = table[experts[t,k]] * sources + (which source row t is of); -1 where the choice is -1 or the table
/// says -1. Source s owns source_rows[s] consecutive rows; sources = 1 and no source_rows: out is the table's value.
struct MapChoicesArgs {
  Tensor experts;      ///< [T,K] i32, -1 = dropped
  Tensor table;        ///< [E] i32, -1 = not here
  Tensor source_rows;  ///< [sources] i64, sum = T; optional
  Tensor out;          ///< [T,K] i32
};
void map_choices(const Stream& stream, const MapChoicesArgs& args);
Cost map_choices_cost(const MapChoicesArgs& args);

/// hits [T,D] i32 = d where one of the token's experts lives at destination d (homes[e,d] = 1), else -1: a routing to D
/// destinations in which each stands once, whatever the number of experts there.
struct DestinationHitsArgs {
  Tensor experts;  ///< [T,K] i32, -1 = dropped
  Tensor homes;    ///< [E,D] u8
  Tensor hits;     ///< [T,D] i32
};
void destination_hits(const Stream& stream, const DestinationHitsArgs& args);
Cost destination_hits_cost(const DestinationHitsArgs& args);

/// Rows in consecutive chunks of sizes[c] rows, to stand in another order of chunks: chunk order[j] is the jth.
/// from [P] i32: row that comes to each place; to [P] i32: place that each row goes to. sum(sizes) = P.
struct ReorderChunksArgs {
  Tensor sizes;  ///< [C] i64
  Tensor order;  ///< [C] i32, a permutation
  Tensor from, to;
};
void reorder_chunks(const Stream& stream, const ReorderChunksArgs& args);
Cost reorder_chunks_cost(const ReorderChunksArgs& args);

/// out [P] i32 = table[index[p]], -1 where index is -1: one gathering instead of two.
struct ComposeIndexArgs {
  Tensor table, index, out;
};
void compose_index(const Stream& stream, const ComposeIndexArgs& args);
Cost compose_index_cost(const ComposeIndexArgs& args);

}  // namespace conclave::kernels
