#include "kernels/grouped_bias.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(grouped_bias_forward, GroupedBiasForwardArgs)
CONCLAVE_SIM_KERNEL(grouped_bias_backward, GroupedBiasBackwardArgs)
}  // namespace conclave::kernels
