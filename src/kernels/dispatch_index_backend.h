// The back ends of the ops that say which rows travel where.
#pragma once

#include "kernels/dispatch_index.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(map_choices, MapChoicesArgs)
CONCLAVE_KERNEL_BACKENDS(destination_hits, DestinationHitsArgs)
CONCLAVE_KERNEL_BACKENDS(reorder_chunks, ReorderChunksArgs)
CONCLAVE_KERNEL_BACKENDS(compose_index, ComposeIndexArgs)

}  // namespace conclave::kernels
