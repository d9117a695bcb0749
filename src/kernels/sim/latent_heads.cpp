#include "kernels/latent_heads_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(split_latent_query, SplitLatentQueryArgs)
CONCLAVE_SIM_KERNEL(merge_latent_query, MergeLatentQueryArgs)
CONCLAVE_SIM_KERNEL(join_latent_keys, JoinLatentKeysArgs)
CONCLAVE_SIM_KERNEL(join_latent_keys_backward, JoinLatentKeysBackwardArgs)

}  // namespace conclave::kernels
