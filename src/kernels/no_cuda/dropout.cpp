#include "kernels/dropout_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(dropout_add, DropoutAddArgs)

}  // namespace conclave::kernels
