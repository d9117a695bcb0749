// The back ends of attention_merge.
#pragma once

#include "kernels/attention_merge.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(attention_merge, AttentionMergeArgs)

}  // namespace conclave::kernels
