// What the back ends of rope share with the launcher.
#pragma once

#include "kernels/rope.h"

namespace conclave::kernels {

inline constexpr int64_t kRopeMostPairs = 2048;  ///< half of the widest head that rotates

CONCLAVE_KERNEL_BACKENDS(rope, RopeArgs)

}  // namespace conclave::kernels
