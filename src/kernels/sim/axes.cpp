#include "kernels/axes_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(swap_axes, SwapAxesArgs)

}  // namespace conclave::kernels
