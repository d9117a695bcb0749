#include "kernels/gemm_backend.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(gemm, GemmCall)
}  // namespace conclave::kernels
