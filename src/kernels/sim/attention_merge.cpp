#include "kernels/attention_merge_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(attention_merge, AttentionMergeArgs)

}  // namespace conclave::kernels
