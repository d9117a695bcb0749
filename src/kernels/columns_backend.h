// The back ends of columns.
#pragma once

#include "kernels/columns.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(split_columns, SplitColumnsArgs)
CONCLAVE_KERNEL_BACKENDS(join_columns, JoinColumnsArgs)

}  // namespace conclave::kernels
