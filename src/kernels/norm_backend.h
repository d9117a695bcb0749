// What the back ends of norm get from the launcher.
#pragma once

#include "kernels/norm.h"

namespace conclave::kernels {

struct NormBackwardWork {
  const NormBackwardArgs& args;
  Tensor partials;  ///< [1 or 2, blocks, W] f32: sums over each block of rows of dweight's terms, then of dbias's
};
inline Cost norm_backward_cost(const NormBackwardWork& work) { return norm_backward_cost(work.args); }

/// Rows of one block of the sums over rows, a function of R alone.
int64_t norm_gradient_block_rows(int64_t rows);

CONCLAVE_KERNEL_BACKENDS(norm_backward, NormBackwardWork)

}  // namespace conclave::kernels
