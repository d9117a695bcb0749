#include "device/cuda/cuda_check.h"

#include "base/error.h"

namespace conclave {

void throw_cuda_error(cudaError_t error, const char* call) {
  cudaGetLastError();  // one report each
  throw Error(
      fmt::format("[device/cuda] {}: {} ({}); a kernel launched earlier may be the cause, which "
                  "CUDA_LAUNCH_BLOCKING=1 finds",
                  call, cudaGetErrorString(error), cudaGetErrorName(error)));
}

}  // namespace conclave
