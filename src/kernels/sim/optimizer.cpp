#include "kernels/optimizer_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(adamw, AdamArgs)
CONCLAVE_SIM_KERNEL(sgd, SgdArgs)
CONCLAVE_SIM_KERNEL(square_sum, SquareSumWork)
CONCLAVE_SIM_KERNEL(clip_scale, ClipScaleArgs)
CONCLAVE_SIM_KERNEL(count_zeros, CountZerosArgs)

}  // namespace conclave::kernels
