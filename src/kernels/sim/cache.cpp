#include "kernels/cache.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(append_to_cache, AppendToCacheArgs)
}  // namespace conclave::kernels
