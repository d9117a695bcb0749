#include "kernels/dropout_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(dropout_add, DropoutAddArgs)

}  // namespace conclave::kernels
