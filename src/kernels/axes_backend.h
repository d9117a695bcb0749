// The back ends of axes.
#pragma once

#include "kernels/axes.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(swap_axes, SwapAxesArgs)

}  // namespace conclave::kernels
