#include "kernels/axes_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(swap_axes, SwapAxesArgs)

}  // namespace conclave::kernels
