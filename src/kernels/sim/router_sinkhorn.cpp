#include "kernels/router_sinkhorn.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(router_sinkhorn, RouterSinkhornArgs)
CONCLAVE_SIM_KERNEL(router_sinkhorn_backward, RouterSinkhornBackwardArgs)
}  // namespace conclave::kernels
