#include "kernels/columns_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(split_columns, SplitColumnsArgs)
CONCLAVE_NO_CUDA_KERNEL(join_columns, JoinColumnsArgs)

}  // namespace conclave::kernels
