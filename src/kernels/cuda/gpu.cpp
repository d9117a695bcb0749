#include "kernels/cuda/gpu.h"

#include "device/cuda/cuda_check.h"

namespace conclave::kernels::cuda {
namespace {

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  CONCLAVE_CUDA(cudaGetDevice(&device));
  CONCLAVE_CUDA(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

}  // namespace

int multiprocessors() {
  static const int count = attribute(cudaDevAttrMultiProcessorCount);
  return count;
}

int compute_capability() {
  static const int number =
      10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
  return number;
}

}  // namespace conclave::kernels::cuda
