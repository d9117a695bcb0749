#include "kernels/random_logits.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(random_logits, RandomLogitsArgs)
}  // namespace conclave::kernels
