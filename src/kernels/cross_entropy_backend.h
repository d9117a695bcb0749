// What the back ends of the fused output product and loss get.
#pragma once

#include "kernels/cross_entropy.h"

namespace conclave::kernels {

struct LinearCrossEntropyWork : LinearCrossEntropyArgs {
  int64_t rows = 0, width = 0, vocabulary = 0;  ///< T, H, V
  Tensor workspace;
};

CONCLAVE_KERNEL_BACKENDS(linear_cross_entropy, LinearCrossEntropyWork)

namespace cpu {
int64_t linear_cross_entropy_scratch_bytes(const LinearCrossEntropyWork& work);
}
namespace cuda {
int64_t linear_cross_entropy_scratch_bytes(const LinearCrossEntropyWork& work);
}

}  // namespace conclave::kernels
