// The back ends of latent_heads.
#pragma once

#include "kernels/latent_heads.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(split_latent_query, SplitLatentQueryArgs)
CONCLAVE_KERNEL_BACKENDS(merge_latent_query, MergeLatentQueryArgs)
CONCLAVE_KERNEL_BACKENDS(join_latent_keys, JoinLatentKeysArgs)
CONCLAVE_KERNEL_BACKENDS(join_latent_keys_backward, JoinLatentKeysBackwardArgs)

}  // namespace conclave::kernels
