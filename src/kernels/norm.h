// RMSNorm and LayerNorm over the last axis. Statistics in f32 (f64 for f64).
// RMSNorm: Zhang & Sennrich 2019; LayerNorm: Ba et al. 2016.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

enum class NormKind { kRms, kLayer };

/// y = (x - mean) * rstd * (weight + weight_offset) + bias. kRms: mean = 0, no bias.
/// x, y [R,W] f32 or bf16; weight, bias [W] of x's dtype; weight_offset is 1 for the "1p" form (weight stored minus
/// one).
struct NormForwardArgs {
  NormKind kind = NormKind::kRms;
  Tensor x, weight, bias, y;
  Tensor mean, rstd;  ///< [R] f32 out; mean only for kLayer; both optional (inference)
  double epsilon = 1e-5;
  float weight_offset = 0;
};
void norm_forward(const Stream& stream, const NormForwardArgs& args);
Cost norm_forward_cost(const NormForwardArgs& args);

/// dx [R,W] is overwritten; dweight, dbias [W] f32 are added to, in an order that depends on R and W alone.
struct NormBackwardArgs {
  NormKind kind = NormKind::kRms;
  Tensor dy, x, weight;
  Tensor mean, rstd;
  Tensor dx;
  Tensor dweight, dbias;  ///< optional: undefined = not wanted
  float weight_offset = 0;
  Tensor residual;  ///< [R,W] of dx's dtype, optional: dx = residual + gradient (the gradient that passes the norm by);
                    ///< may be dx itself
};
void norm_backward(const Stream& stream, const NormBackwardArgs& args);
Cost norm_backward_cost(const NormBackwardArgs& args);

}  // namespace conclave::kernels
