// Pieces that plans of dispatchers are made of: permutations, index vectors, counts on the host.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "moe/dispatch/dispatcher.h"

namespace conclave {

Tensor index_tensor(const Context& context, const std::vector<int32_t>& values);
Tensor index_tensor(const Context& context, const std::vector<int64_t>& values);

/// Rows of x [T,W] picked by index [P] i32; -1 gives zeros.
Tensor pick_rows(const Context& context, const Tensor& x, const Tensor& index, const char* name);

/// Choices of destinations (experts, nodes, ranks), sorted by destination, of one destination in order of tokens.
struct Permutation {
  Tensor counts, offsets;      ///< [D], [D+1] i64
  Tensor row_token, row_slot;  ///< [P] i32
  Tensor slot_row;             ///< [T,K] i32
  /// Forgets rows beyond the first `rows`, where there are fewer than were taken memory for.
  void shorten(int64_t rows);
};
/// choices [T,K] i32 of `destinations`, -1 = none. capacity > 0: exactly so many rows for each. Takes memory for
/// `least_rows` rows at least.
Permutation sort_choices(const Context& context, const Tensor& choices, int64_t destinations, int64_t capacity,
                         int64_t least_rows = 0);

/// Sum over each token's choices of rows [P,W] -> [T,W].
Tensor sum_rows(const Context& context, const Tensor& rows, const Tensor& slot_row, const char* name);
/// values [P] f32 -> [T,K], 0 where there is none.
Tensor values_of_choices(const Context& context, const Tensor& values, const Tensor& slot_row, DType dtype);
/// values [T,K] -> [P] f32, 0 for fillers.
Tensor values_of_rows(const Context& context, const Tensor& values, const Tensor& row_slot);
/// x itself or a copy in `dtype`.
Tensor as_dtype(const Context& context, const Tensor& x, DType dtype);

/// Another order of chunks of rows; undefined tensors: the order is as it should be.
struct ChunkOrder {
  Tensor from;  ///< [P] i32, row that comes to each place
  Tensor to;    ///< [P] i32, place of each row
  bool changes() const { return from.defined(); }
};
ChunkOrder order_chunks(const Context& context, const std::vector<int64_t>& sizes, const std::vector<int32_t>& order);

/// Counts (i64 or f64) on the host: the one place where a dispatch waits for the device. On `sim`, which has no
/// counts, `declared` says what entry i would be.
std::vector<int64_t> read_counts(const Context& context, const Tensor& counts,
                                 const std::function<int64_t(int64_t i)>& declared);

/// The declared routing; balanced where none was declared.
std::shared_ptr<const DeclaredRouting> declared(const Routing& routing);

}  // namespace conclave
