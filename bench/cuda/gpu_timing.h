// What programs that time kernels need: memory, random numbers in it, medians by events.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "device/cuda/cuda_check.h"

namespace conclave::kernels::cuda {

template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : count_(count) {
    CONCLAVE_CUDA(cudaMalloc(&data_, static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T)));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() const { return data_; }
  int64_t count() const { return count_; }
  std::vector<T> host() const {
    std::vector<T> out(static_cast<size_t>(count_));
    CONCLAVE_CUDA(cudaMemcpy(out.data(), data_, out.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return out;
  }
  void fill_bytes(int value) const { CONCLAVE_CUDA(cudaMemset(data_, value, static_cast<size_t>(count_) * sizeof(T))); }

 private:
  T* data_ = nullptr;
  int64_t count_;
};

static __device__ uint32_t mixed(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return static_cast<uint32_t>(x >> 32);
}

/// About normal: the sum of four uniform numbers.
static __global__ void fill_normal(__nv_bfloat16* out, int64_t count, uint64_t seed) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    float sum = 0;
    for (uint64_t j = 0; j < 4; ++j) sum += static_cast<float>(mixed((i * 4 + j) ^ seed << 48) >> 8) * 0x1p-24f - 0.5f;
    out[i] = __float2bfloat16_rn(sum * 1.7f);
  }
}
inline void fill(const Buffer<__nv_bfloat16>& buffer, uint64_t seed) {
  fill_normal<<<1024, 256>>>(buffer.data(), buffer.count(), seed);
  CONCLAVE_CUDA(cudaGetLastError());
}

/// Seconds from one event to the other for each call: medians of rounds over all of them, so that what changes with
/// time, such as the clock, meets each alike.
inline std::vector<double> median_seconds(const std::vector<std::function<void()>>& runs, int rounds) {
  cudaEvent_t begin, end;
  CONCLAVE_CUDA(cudaEventCreate(&begin));
  CONCLAVE_CUDA(cudaEventCreate(&end));
  std::vector<std::vector<float>> times(runs.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < runs.size(); ++i) {
      if (round < 0) runs[i]();
      float milliseconds = 0;
      CONCLAVE_CUDA(cudaEventRecord(begin));
      runs[i]();
      CONCLAVE_CUDA(cudaEventRecord(end));
      CONCLAVE_CUDA(cudaEventSynchronize(end));
      CONCLAVE_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
      if (round >= 0) times[i].push_back(milliseconds);
    }
  }
  CONCLAVE_CUDA(cudaEventDestroy(begin));
  CONCLAVE_CUDA(cudaEventDestroy(end));
  std::vector<double> medians;
  for (std::vector<float>& list : times) {
    std::nth_element(list.begin(), list.begin() + rounds / 2, list.end());
    medians.push_back(list[static_cast<size_t>(rounds / 2)] * 1e-3);
  }
  return medians;
}
inline double median_seconds(const std::function<void()>& run, int rounds) {
  return median_seconds(std::vector<std::function<void()>>{run}, rounds).front();
}
/// The same after a rest, so that no call pays with its clock for the heat of those before it; bench/peers rests too.
inline double rested_seconds(const std::function<void()>& run, int rounds) {
  CONCLAVE_CUDA(cudaDeviceSynchronize());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  for (int i = 0; i < 2; ++i) run();
  return median_seconds(run, rounds);
}

}  // namespace conclave::kernels::cuda
