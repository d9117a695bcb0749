// Optimizer arithmetic over flat buffers. Every sum has an order that depends on sizes alone.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// Whether a step leaves the gradient or sets it to zero for the next one: a pass over memory saved.
enum class GradientAfter { kKeep, kZero };

/// AdamW (Loshchilov & Hutter 2019) on one flat range: w *= 1 - lr*weight_decay; m, v with bias correction of `step`
/// (1-based); w -= lr * (m/c1) / (sqrt(v/c2) + epsilon). gradient is multiplied by grad_scale (clipping) first; also
/// writes the compute copy.
struct AdamArgs {
  Tensor weight;      ///< [N] f32 main weights
  Tensor gradient;    ///< [N] f32; changed only by gradient_after
  Tensor exp_avg;     ///< [N] f32
  Tensor exp_avg_sq;  ///< [N] f32
  Tensor compute;     ///< [N] bf16 out, optional
  double lr = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  int64_t step = 1;
  Tensor grad_scale;  ///< [1] f32 on the device; optional
  GradientAfter gradient_after = GradientAfter::kKeep;
};
void adamw(const Stream& stream, const AdamArgs& args);
Cost adamw_cost(const AdamArgs& args);

/// SGD with momentum: g = grad*scale + weight_decay*w; m = momentum*m + g (first step m = g); w -= lr*m.
struct SgdArgs {
  Tensor weight, gradient, momentum_buffer, compute;  ///< as above; momentum_buffer optional if momentum is 0
  double lr = 0, momentum = 0, weight_decay = 0;
  int64_t step = 1;
  Tensor grad_scale;
  GradientAfter gradient_after = GradientAfter::kKeep;
};
void sgd(const Stream& stream, const SgdArgs& args);
Cost sgd_cost(const SgdArgs& args);

/// out [1] f64 (+)= sum of squares of x [N] (f32 or bf16), in f64 over fixed blocks.
struct SquareSumArgs {
  Tensor x, out;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void square_sum(const Stream& stream, const SquareSumArgs& args);
Cost square_sum_cost(const SquareSumArgs& args);

/// norm [1] f32 = sqrt(square_sum); scale [1] f32 = min(1, max_norm / (norm + 1e-6)), or 1 if max_norm <= 0.
struct ClipScaleArgs {
  Tensor square_sum, norm, scale;
  double max_norm = 0;
};
void clip_scale(const Stream& stream, const ClipScaleArgs& args);
Cost clip_scale_cost(const ClipScaleArgs& args);

/// out [1] i64 (+)= number of zeros (value == 0) in x.
struct CountZerosArgs {
  Tensor x, out;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void count_zeros(const Stream& stream, const CountZerosArgs& args);
Cost count_zeros_cost(const CountZerosArgs& args);

}  // namespace conclave::kernels
