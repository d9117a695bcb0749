#include "kernels/router_sinkhorn.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(router_sinkhorn, RouterSinkhornArgs)
CONCLAVE_NO_CUDA_KERNEL(router_sinkhorn_backward, RouterSinkhornBackwardArgs)
}  // namespace conclave::kernels
