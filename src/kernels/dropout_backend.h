// The back ends of dropout.
#pragma once

#include "kernels/dropout.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(dropout_add, DropoutAddArgs)

}  // namespace conclave::kernels
