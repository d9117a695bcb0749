// The output product fused with softmax cross-entropy, in chunks of rows: f32 logits [T,V] never stand whole.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// logits = hidden [T,H] · weight [V,H]^T + bias; loss[t] = logsumexp(logits[t]) - logits[t, labels[t]] [T] f32.
/// With row_weight (d objective / d loss[t], [T] f32) the gradients are made in the same pass:
/// dhidden [T,H] of hidden's dtype (overwritten), dweight [V,H] f32 (added to), dbias [V] f32 (added to).
/// Rows of weight zero have zero gradient whatever their label; labels outside [0, V) are allowed there (loss 0).
/// hidden, weight f32 or bf16; softmax in f32; the gradient at the logits is rounded to hidden's dtype for the
/// products.
struct LinearCrossEntropyArgs {
  Tensor hidden, weight, bias, labels;  ///< labels [T] i32; bias [V] optional
  Tensor loss;
  Tensor row_weight;
  Tensor dhidden, dweight, dbias;
  Tensor greedy_correct;   ///< [T] u8, optional: 1 where the largest logit (lowest index on ties) is the label
  Tensor logit_maximum;    ///< [1] f32, optional: largest |logit|, max'ed into what stands there
  int64_t chunk_rows = 0;  ///< 0 = chosen so that a chunk's logits take about 8 MiB
};
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyArgs& args);
Cost linear_cross_entropy_cost(const LinearCrossEntropyArgs& args);
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyArgs& args);

}  // namespace conclave::kernels
