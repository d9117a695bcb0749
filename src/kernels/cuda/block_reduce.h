// Reductions over a block in a fixed order: the same bits in every run.
#pragma once

#include <cuda_runtime_api.h>

namespace conclave::kernels::cuda {

/// Every thread gets combine over all threads' values; blocks of whole warps, at most 1024 threads. `shared` has room
/// for 32 values and may be used again at once.
template <typename T, typename Combine>
__device__ T reduce_over_block(T value, T* shared, Combine combine) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  __syncthreads();
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = shared[0];
  for (unsigned i = 1; i < warps; ++i) value = combine(value, shared[i]);
  return value;
}

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
  __device__ unsigned operator()(unsigned a, unsigned b) const { return a > b ? a : b; }
  __device__ int operator()(int a, int b) const { return a > b ? a : b; }
};

}  // namespace conclave::kernels::cuda
