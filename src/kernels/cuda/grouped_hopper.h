// Grouped products of bf16 on Hopper's matrix units: what is multiplied, and in which tiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace conclave::kernels::cuda {

enum class GroupedKind { kForward, kInputGradient, kWeightGradient };

/// Plain pointers of a grouped product; rows of expert e are [offsets[e], offsets[e+1]).
/// kForward: out [P,N] = left [P,K] · right[e] [N,K]^T + bias[e] [N].
/// kInputGradient: out [P,K] = left [P,N] · right[e] [N,K].
/// kWeightGradient: out[e] [N,K] f32 += left [P,N]^T · right [P,K].
struct GroupedProduct {
  GroupedKind kind = GroupedKind::kForward;
  const void* left = nullptr;
  const void* right = nullptr;
  void* out = nullptr;
  const void* bias = nullptr;        ///< bf16 [E,N] or null; kForward only
  const int64_t* offsets = nullptr;  ///< [E+1], on the device
  int64_t rows = 0, experts = 0, n = 0, k = 0;
};

/// Which operand the two blocks of a cluster have in common, so that each fetches half of it.
enum class Shared { kNone, kLeft, kRight };

/// How the two warpgroups that multiply divide a block's tiles: each takes half the rows of every tile, or they take
/// whole tiles in turn, so that one stores while the other multiplies.
enum class Work { kHalves, kTurns };

/// How weight gradients are added to memory: by the copy engine, whose additions are made in the L2 cache, or by loads
/// and stores.
enum class Adding { kByEngine, kByLoads };

/// How a product is cut: tiles of 128 x width (256, 192 or 128), walked in bands of `band` tiles of 128 rows. Weight
/// gradients with 192 or 128 columns are made in turns, the rest in halves.
struct GroupedTiling {
  int width = 256;
  Shared shared = Shared::kNone;
  int band = 16;
  Adding adding = Adding::kByEngine;
};

/// The tiling that is fastest for these sizes.
GroupedTiling grouped_tiling(const GroupedProduct& product);

/// Whether sizes and alignment suit the copy engine: rows of a multiple of 16 bytes, pointers too; and the GPU is a
/// Hopper.
bool grouped_hopper_serves(const GroupedProduct& product);

/// Deterministic: each element of out has one writer and one order of sums.
void grouped_hopper(const GroupedProduct& product, const GroupedTiling& tiling, cudaStream_t stream);

/// The same for one kind: a file of its own per kind, so that they compile beside each other.
template <GroupedKind kKind>
void launch_grouped_of_kind(const GroupedProduct& product, const GroupedTiling& tiling, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
