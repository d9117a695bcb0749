#include "kernels/qkv_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(split_qkv, SplitQkvArgs)
CONCLAVE_NO_CUDA_KERNEL(merge_qkv, MergeQkvArgs)

}  // namespace conclave::kernels
