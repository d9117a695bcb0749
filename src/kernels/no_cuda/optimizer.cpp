#include "kernels/optimizer_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(adamw, AdamArgs)
CONCLAVE_NO_CUDA_KERNEL(sgd, SgdArgs)
CONCLAVE_NO_CUDA_KERNEL(square_sum, SquareSumWork)
CONCLAVE_NO_CUDA_KERNEL(clip_scale, ClipScaleArgs)
CONCLAVE_NO_CUDA_KERNEL(count_zeros, CountZerosArgs)

}  // namespace conclave::kernels
