// Values in device code: the element types, wide loads and stores, and typed pointers into tensors.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/launch.h"

namespace conclave::kernels::cuda {

using bf16 = __nv_bfloat16;

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ double wide(double x) { return x; }
__device__ __forceinline__ float wide(bf16 x) { return __bfloat162float(x); }

/// Rounds to T: to bf16 by way of f32, to nearest even.
template <typename T, typename From>
__device__ __forceinline__ T narrow(From x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16_rn(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

/// N neighbouring elements, loaded and stored at once.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};
template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load(const T* x) {
  return *reinterpret_cast<const Pack<T, N>*>(x);
}
template <typename T, int N>
__device__ __forceinline__ void store(T* y, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(y) = pack;
}

/// Elements of T in 16 bytes.
template <typename T>
inline constexpr int kWide = 16 / sizeof(T);

/// Typed pointer of a tensor, null where there is none; bf16 in the device's own type.
template <typename T>
T* pointer(const Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  if constexpr (std::is_same_v<std::remove_const_t<T>, bf16>) {
    return reinterpret_cast<T*>(tensor.data<BF16>());
  } else {
    return tensor.data<std::remove_const_t<T>>();
  }
}

/// Whether every tensor (absent ones aside) begins at a multiple of `bytes`.
template <typename... Tensors>
bool aligned(int64_t bytes, const Tensors&... tensors) {
  return ((!tensors.defined() || reinterpret_cast<uintptr_t>(tensors.raw()) % static_cast<uintptr_t>(bytes) == 0) &&
          ...);
}

/// Calls body(T{}) for float or bf16.
template <typename Body>
void with_float(DType dtype, Body body) {
  if (dtype == DType::kBF16) {
    body(bf16{});
  } else {
    body(float{});
  }
}

template <typename Body>
__global__ void for_each_kernel(int64_t count, Body body) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  if (count < (int64_t{1} << 31)) {
    // Indices of 32 bits: divisions by sizes are several times cheaper.
    const auto last = static_cast<uint32_t>(count);
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < last; i += stride)
      body(static_cast<uint32_t>(i));
  } else {
    for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) body(i);
  }
}

/// body(i) for every i below count; i is uint32_t or int64_t, so `body` takes auto and divides in that type.
template <typename Body>
void for_each(const Stream& stream, const char* op, int64_t count, Body body) {
  if (count == 0) return;
  constexpr int kThreads = 256;
  for_each_kernel<<<grid_for(count, kThreads, 132 * 32), kThreads, 0, cuda_stream(stream)>>>(count, body);
  check_launch(op);
}

}  // namespace conclave::kernels::cuda
