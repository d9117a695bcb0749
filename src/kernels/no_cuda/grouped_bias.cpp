#include "kernels/grouped_bias.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(grouped_bias_forward, GroupedBiasForwardArgs)
CONCLAVE_NO_CUDA_KERNEL(grouped_bias_backward, GroupedBiasBackwardArgs)
}  // namespace conclave::kernels
