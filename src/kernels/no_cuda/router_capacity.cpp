#include "kernels/router_capacity.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(router_drop, RouterDropArgs)
CONCLAVE_NO_CUDA_KERNEL(routing_map, RoutingMapArgs)
CONCLAVE_NO_CUDA_KERNEL(pad_routing_map, PadRoutingMapArgs)
CONCLAVE_NO_CUDA_KERNEL(count_choices, CountChoicesArgs)
CONCLAVE_NO_CUDA_KERNEL(count_map, CountMapArgs)
}  // namespace conclave::kernels
