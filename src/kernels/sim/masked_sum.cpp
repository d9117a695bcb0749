#include "kernels/masked_sum.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(masked_sum, MaskedSumArgs)
}  // namespace conclave::kernels
