// What every CUDA source shares on the host's side: the stream of a launch, its grid, and its errors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device/cuda/cuda_check.h"
#include "device/cuda/cuda_stream.h"
#include "kernels/kernel.h"

namespace conclave::kernels::cuda {

/// Blocks of `threads` that `work` items need, one thread each; at most so many as fill the largest GPU several times
/// over: kernels loop on (grid stride).
inline unsigned grid_for(int64_t work, int threads, int64_t most = 132 * 16) {
  return static_cast<unsigned>(std::clamp<int64_t>((work + threads - 1) / threads, 1, most));
}

/// Reports a launch that failed. Ends every back end.
inline void check_launch(const char* op) { check_cuda(cudaGetLastError(), op); }

/// A launch with more than 48 KiB of dynamic shared memory must be asked for.
template <typename Kernel>
void allow_shared(Kernel* kernel, size_t bytes) {
  if (bytes > (size_t{48} << 10))
    CONCLAVE_CUDA(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

}  // namespace conclave::kernels::cuda
