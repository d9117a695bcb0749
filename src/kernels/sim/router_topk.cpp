#include "kernels/router_topk.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(router_topk, RouterTopkArgs)
CONCLAVE_SIM_KERNEL(router_topk_backward, RouterTopkBackwardArgs)
}  // namespace conclave::kernels
