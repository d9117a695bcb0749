// The back ends of the fused projection's split and merge.
#pragma once

#include "kernels/qkv.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(split_qkv, SplitQkvArgs)
CONCLAVE_KERNEL_BACKENDS(merge_qkv, MergeQkvArgs)

}  // namespace conclave::kernels
