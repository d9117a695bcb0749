#include "kernels/gemm_backend.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(gemm, GemmCall)
}  // namespace conclave::kernels
