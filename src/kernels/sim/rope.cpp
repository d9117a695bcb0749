#include "kernels/rope_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(rope, RopeArgs)

}  // namespace conclave::kernels
