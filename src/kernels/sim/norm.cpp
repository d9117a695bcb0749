#include "kernels/norm_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(norm_forward, NormForwardArgs)
CONCLAVE_SIM_KERNEL(norm_backward, NormBackwardWork)

}  // namespace conclave::kernels
