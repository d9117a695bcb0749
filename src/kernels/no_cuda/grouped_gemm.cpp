#include "kernels/grouped_gemm_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(grouped_gemm_forward, GroupedForwardWork)
CONCLAVE_NO_CUDA_KERNEL(grouped_gemm_input_gradient, GroupedInputGradientWork)
CONCLAVE_NO_CUDA_KERNEL(grouped_gemm_weight_gradient, GroupedWeightGradientWork)

}  // namespace conclave::kernels
