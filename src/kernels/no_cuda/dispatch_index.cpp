#include "kernels/dispatch_index_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(map_choices, MapChoicesArgs)
CONCLAVE_NO_CUDA_KERNEL(destination_hits, DestinationHitsArgs)
CONCLAVE_NO_CUDA_KERNEL(reorder_chunks, ReorderChunksArgs)
CONCLAVE_NO_CUDA_KERNEL(compose_index, ComposeIndexArgs)

}  // namespace conclave::kernels
