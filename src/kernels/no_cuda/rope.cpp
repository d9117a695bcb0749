#include "kernels/rope_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(rope, RopeArgs)

}  // namespace conclave::kernels
