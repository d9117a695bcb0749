#include "kernels/router_capacity.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(router_drop, RouterDropArgs)
CONCLAVE_SIM_KERNEL(routing_map, RoutingMapArgs)
CONCLAVE_SIM_KERNEL(pad_routing_map, PadRoutingMapArgs)
CONCLAVE_SIM_KERNEL(count_choices, CountChoicesArgs)
CONCLAVE_SIM_KERNEL(count_map, CountMapArgs)
}  // namespace conclave::kernels
