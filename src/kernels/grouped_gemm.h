// Products over contiguous groups of rows: expert e owns rows [offsets[e], offsets[e+1]). Offsets are read on the
// device.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// y [P,N] = rows of x [P,K] times weight[e]^T, weight [E,N,K]; bias [E,N] optional. Rows at and after offsets[E] are
/// left alone. dtypes: all f32, or all bf16 with f32 sums. Experts may have no rows.
struct GroupedForwardArgs {
  Tensor x, weight, y;
  Tensor offsets;  ///< [E+1] i64
  Tensor bias;     ///< [E,N], optional
};
void grouped_gemm_forward(const Stream& stream, const GroupedForwardArgs& args);
Cost grouped_gemm_forward_cost(const GroupedForwardArgs& args);

/// dx [P,K] = rows of dy [P,N] times weight[e] [N,K].
struct GroupedInputGradientArgs {
  Tensor dy, weight, dx;
  Tensor offsets;  ///< [E+1] i64
};
void grouped_gemm_input_gradient(const Stream& stream, const GroupedInputGradientArgs& args);
Cost grouped_gemm_input_gradient_cost(const GroupedInputGradientArgs& args);

/// dweight[e] [N,K] f32 += (rows of dy)^T (rows of x); dbias [E,N] f32 += column sums of dy, optional.
struct GroupedWeightGradientArgs {
  Tensor dy, x, dweight;
  Tensor offsets;  ///< [E+1] i64
  Tensor dbias;    ///< [E,N] f32, optional
};
void grouped_gemm_weight_gradient(const Stream& stream, const GroupedWeightGradientArgs& args);
Cost grouped_gemm_weight_gradient_cost(const GroupedWeightGradientArgs& args);

}  // namespace conclave::kernels
