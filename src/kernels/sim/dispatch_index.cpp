#include "kernels/dispatch_index_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(map_choices, MapChoicesArgs)
CONCLAVE_SIM_KERNEL(destination_hits, DestinationHitsArgs)
CONCLAVE_SIM_KERNEL(reorder_chunks, ReorderChunksArgs)
CONCLAVE_SIM_KERNEL(compose_index, ComposeIndexArgs)

}  // namespace conclave::kernels
