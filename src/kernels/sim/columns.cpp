#include "kernels/columns_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(split_columns, SplitColumnsArgs)
CONCLAVE_SIM_KERNEL(join_columns, JoinColumnsArgs)

}  // namespace conclave::kernels
