#include "kernels/grouped_gemm_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(grouped_gemm_forward, GroupedForwardWork)
CONCLAVE_SIM_KERNEL(grouped_gemm_input_gradient, GroupedInputGradientWork)
CONCLAVE_SIM_KERNEL(grouped_gemm_weight_gradient, GroupedWeightGradientWork)

}  // namespace conclave::kernels
