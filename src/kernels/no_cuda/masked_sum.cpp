#include "kernels/masked_sum.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(masked_sum, MaskedSumArgs)
}  // namespace conclave::kernels
