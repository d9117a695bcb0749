// z-loss: keeps logits small (Zoph et al. 2022).
#pragma once

#include "kernels/router_rule.h"

namespace conclave::kernels {

/// loss = coefficient * mean over valid rows of logsumexp(logits)²; no valid row: 0. In the logits' precision: for bf16
/// logits each step is rounded to bf16. Sums in f64 over fixed blocks.
struct ZLossArgs {
  double coefficient = 0;  ///< > 0
  Tensor logits, padding;  ///< [T,E] f32, f64 or bf16; [T] u8, optional, 1 = padding
  Tensor mean_over;        ///< [1] f64, optional: rows that the mean is over, where others hold more of them
  Tensor loss;             ///< [1] f64 out, optional
  Tensor logged;           ///< [1] f64 += loss / coefficient, optional
  Tensor workspace;        ///< taken by the op
};
void z_loss(const Stream& stream, const ZLossArgs& args);
Cost z_loss_cost(const ZLossArgs& args);

/// dlogits [T,E] of the logits' dtype += gradient_scale * d loss / d logits. For bf16 logits each step is rounded too.
struct ZLossBackwardArgs {
  double coefficient = 0;
  double gradient_scale = 1;
  Tensor logits, padding, dlogits;
  Tensor mean_over;  ///< as forward
};
void z_loss_backward(const Stream& stream, const ZLossBackwardArgs& args);
Cost z_loss_backward_cost(const ZLossBackwardArgs& args);

}  // namespace conclave::kernels
