#include "kernels/activation_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(activation_forward, ActivationForwardArgs)
CONCLAVE_SIM_KERNEL(activation_backward, ActivationBackwardArgs)

}  // namespace conclave::kernels
