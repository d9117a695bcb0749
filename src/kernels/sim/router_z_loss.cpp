#include "kernels/router_z_loss.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(z_loss, ZLossArgs)
CONCLAVE_SIM_KERNEL(z_loss_backward, ZLossBackwardArgs)
}  // namespace conclave::kernels
