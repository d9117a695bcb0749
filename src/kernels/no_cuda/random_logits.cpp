#include "kernels/random_logits.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(random_logits, RandomLogitsArgs)
}  // namespace conclave::kernels
