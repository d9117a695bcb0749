// Reductions whose order is that of the threads: the same bits in every run.
#pragma once

#include "kernels/cuda/values.cuh"

namespace conclave::kernels::cuda {

inline constexpr int kWarp = 32;

/// Every lane of groups of `width` neighbours (a power of two up to 32) gets the group's total.
template <typename T, typename Combine>
__device__ __forceinline__ T reduce_lanes(T value, Combine combine, int width = kWarp) {
  for (int step = width / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}
template <typename T>
__device__ __forceinline__ T sum_lanes(T value, int width = kWarp) {
  return reduce_lanes(
      value, [](T a, T b) { return a + b; }, width);
}
template <typename T>
__device__ __forceinline__ T max_lanes(T value) {
  return reduce_lanes(value, [](T a, T b) { return a > b ? a : b; });
}

/// Every thread of the block gets the total. `room` holds one value per warp. All threads call.
template <typename T, typename Combine>
__device__ T reduce_block(T value, T* room, Combine combine) {
  value = reduce_lanes(value, combine);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = (static_cast<int>(blockDim.x) + kWarp - 1) / kWarp;
  __syncthreads();
  if (threadIdx.x % kWarp == 0) room[warp] = value;
  __syncthreads();
  T total = room[0];
  for (int i = 1; i < warps; ++i) total = combine(total, room[i]);
  return total;
}
template <typename T>
__device__ T sum_block(T value, T* room) {
  return reduce_block(value, room, [](T a, T b) { return a + b; });
}

}  // namespace conclave::kernels::cuda
