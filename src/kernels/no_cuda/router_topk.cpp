#include "kernels/router_topk.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(router_topk, RouterTopkArgs)
CONCLAVE_NO_CUDA_KERNEL(router_topk_backward, RouterTopkBackwardArgs)
}  // namespace conclave::kernels
