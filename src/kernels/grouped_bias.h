// A bias per expert, weighted by each row's probability.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// y[p] [P,N] += row_weight[p] * bias[e] for rows p of expert e; row_weight [P] f32 (undefined: 1), bias [E,N] and y of
/// one dtype (f32 or bf16).
struct GroupedBiasForwardArgs {
  Tensor y, bias, row_weight;
  Tensor offsets;  ///< [E+1] i64
};
void grouped_bias_forward(const Stream& stream, const GroupedBiasForwardArgs& args);
Cost grouped_bias_forward_cost(const GroupedBiasForwardArgs& args);

/// dbias[e] [E,N] f32 += sum over rows of row_weight * dy; drow_weight [P] f32 += dy · bias[e] (if row_weight is
/// given).
struct GroupedBiasBackwardArgs {
  Tensor dy, bias, row_weight;
  Tensor offsets;
  Tensor dbias, drow_weight;
};
void grouped_bias_backward(const Stream& stream, const GroupedBiasBackwardArgs& args);
Cost grouped_bias_backward_cost(const GroupedBiasBackwardArgs& args);

}  // namespace conclave::kernels
