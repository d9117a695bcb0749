// Two axes exchanged.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// x [A,B,W] -> y [B,A,W]: y[b,a,:] = x[a,b,:]. Any dtype.
struct SwapAxesArgs {
  Tensor x, y;
};
void swap_axes(const Stream& stream, const SwapAxesArgs& args);
Cost swap_axes_cost(const SwapAxesArgs& args);

}  // namespace conclave::kernels
