#include "kernels/cross_entropy_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(linear_cross_entropy, LinearCrossEntropyWork)

}  // namespace conclave::kernels
