// The output product fused with softmax cross-entropy, in chunks of rows: f32 logits [T,V] never stand whole.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// logits = hidden [T,H] · weight [V,H]^T + bias; loss[t] = logsumexp(logits[t]) - logits[t, labels[t]] [T] f32.
/// With row_weight (d objective / d loss[t], [T] f32) the gradients are made in the same pass, each optional:
/// dhidden [T,H] of hidden's dtype (overwritten), dweight [V,H] f32 (added to), dbias [V] f32 (added to).
/// Rows of weight zero have zero gradient whatever their label. A label outside [0, V) gives loss 0; where its row has
/// a weight other than zero it is an error (on cuda, where the host does not look, a loss of NaN). hidden and weight of
/// one dtype, f32 or bf16; softmax in f32; the gradient at the logits is rounded to that dtype for the products. V and
/// H at least 1.
struct LinearCrossEntropyArgs {
  Tensor hidden, weight, bias, labels;  ///< labels [T] i32; bias [V] of weight's dtype, optional
  Tensor loss;
  Tensor row_weight;
  Tensor dhidden, dweight, dbias;
  Tensor greedy_correct;   ///< [T] u8, optional: 1 where the largest logit (lowest index on ties) is the label
  Tensor logit_maximum;    ///< [1] f32, optional: largest |logit|, max'ed into what stands there; NaN if one is
  int64_t chunk_rows = 0;  ///< 0 = chosen so that a chunk's f32 logits take about 8 MiB, but at least 64 rows
};
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyArgs& args);
Cost linear_cross_entropy_cost(const LinearCrossEntropyArgs& args);
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyArgs& args);

}  // namespace conclave::kernels
