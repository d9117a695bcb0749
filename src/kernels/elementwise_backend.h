// The back ends of the elementwise ops.
#pragma once

#include "kernels/elementwise.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(fill, FillArgs)
CONCLAVE_KERNEL_BACKENDS(cast, CastArgs)
CONCLAVE_KERNEL_BACKENDS(scale, ScaleArgs)
CONCLAVE_KERNEL_BACKENDS(column_sum, ColumnSumArgs)
CONCLAVE_KERNEL_BACKENDS(row_gate_forward, RowGateForwardArgs)
CONCLAVE_KERNEL_BACKENDS(row_gate_backward, RowGateBackwardArgs)
CONCLAVE_KERNEL_BACKENDS(jitter, JitterArgs)
CONCLAVE_KERNEL_BACKENDS(random_fill, RandomFillArgs)
CONCLAVE_KERNEL_BACKENDS(count_nonfinite, CountNonFiniteArgs)
CONCLAVE_KERNEL_BACKENDS(abs_max, AbsMaxArgs)

}  // namespace conclave::kernels
