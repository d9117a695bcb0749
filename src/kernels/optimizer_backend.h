// What the back ends of the optimizer's ops get.
#pragma once

#include "kernels/optimizer.h"

namespace conclave::kernels {

struct SquareSumWork : SquareSumArgs {
  Tensor partials;  ///< [ceil(N / kSumBlock)] f64
};
/// Elements summed into one partial sum: fixed, so that a sum does not depend on the number of threads.
inline constexpr int64_t kSumBlock = 16384;

CONCLAVE_KERNEL_BACKENDS(adamw, AdamArgs)
CONCLAVE_KERNEL_BACKENDS(sgd, SgdArgs)
CONCLAVE_KERNEL_BACKENDS(square_sum, SquareSumWork)
CONCLAVE_KERNEL_BACKENDS(clip_scale, ClipScaleArgs)
CONCLAVE_KERNEL_BACKENDS(count_zeros, CountZerosArgs)

}  // namespace conclave::kernels
