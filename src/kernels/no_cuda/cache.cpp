#include "kernels/cache.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(append_to_cache, AppendToCacheArgs)
}  // namespace conclave::kernels
