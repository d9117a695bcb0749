#include "kernels/norm_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(norm_forward, NormForwardArgs)
CONCLAVE_NO_CUDA_KERNEL(norm_backward, NormBackwardWork)

}  // namespace conclave::kernels
