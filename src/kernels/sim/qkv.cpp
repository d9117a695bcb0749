#include "kernels/qkv_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(split_qkv, SplitQkvArgs)
CONCLAVE_SIM_KERNEL(merge_qkv, MergeQkvArgs)

}  // namespace conclave::kernels
