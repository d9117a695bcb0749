#include "kernels/activation_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(activation_forward, ActivationForwardArgs)
CONCLAVE_NO_CUDA_KERNEL(activation_backward, ActivationBackwardArgs)

}  // namespace conclave::kernels
