#include "kernels/attention_merge_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(attention_merge, AttentionMergeArgs)

}  // namespace conclave::kernels
