#include "kernels/elementwise_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(fill, FillArgs)
CONCLAVE_SIM_KERNEL(cast, CastArgs)
CONCLAVE_SIM_KERNEL(scale, ScaleArgs)
CONCLAVE_SIM_KERNEL(column_sum, ColumnSumArgs)
CONCLAVE_SIM_KERNEL(row_gate_forward, RowGateForwardArgs)
CONCLAVE_SIM_KERNEL(row_gate_backward, RowGateBackwardArgs)
CONCLAVE_SIM_KERNEL(jitter, JitterArgs)
CONCLAVE_SIM_KERNEL(random_fill, RandomFillArgs)
CONCLAVE_SIM_KERNEL(count_nonfinite, CountNonFiniteArgs)
CONCLAVE_SIM_KERNEL(abs_max, AbsMaxArgs)

}  // namespace conclave::kernels
