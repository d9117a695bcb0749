#include "kernels/elementwise_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(fill, FillArgs)
CONCLAVE_NO_CUDA_KERNEL(cast, CastArgs)
CONCLAVE_NO_CUDA_KERNEL(scale, ScaleArgs)
CONCLAVE_NO_CUDA_KERNEL(column_sum, ColumnSumArgs)
CONCLAVE_NO_CUDA_KERNEL(row_gate_forward, RowGateForwardArgs)
CONCLAVE_NO_CUDA_KERNEL(row_gate_backward, RowGateBackwardArgs)
CONCLAVE_NO_CUDA_KERNEL(jitter, JitterArgs)
CONCLAVE_NO_CUDA_KERNEL(random_fill, RandomFillArgs)
CONCLAVE_NO_CUDA_KERNEL(count_nonfinite, CountNonFiniteArgs)
CONCLAVE_NO_CUDA_KERNEL(abs_max, AbsMaxArgs)

}  // namespace conclave::kernels
