#include "kernels/cross_entropy_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(linear_cross_entropy, LinearCrossEntropyWork)

}  // namespace conclave::kernels
