// Sums over tokens for the log.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// out [2] f64 += {sum of values[t] * mask[t], sum of mask[t]}; values, mask [T] f32, in order of t. A value under a
/// zero mask takes no part, NaN included.
struct MaskedSumArgs {
  Tensor values, mask, out;
};
void masked_sum(const Stream& stream, const MaskedSumArgs& args);
Cost masked_sum_cost(const MaskedSumArgs& args);

}  // namespace conclave::kernels
