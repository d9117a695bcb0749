// Softmax cross-entropy over a vocabulary that is cut over ranks: each rank holds some columns of a chunk of logits,
// and only one or two numbers per row cross between the steps. Between vocab_row_maximum and vocab_exponentials the
// maxima are reduced by maximum; between vocab_exponentials and vocab_loss the sums are added.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// maximum [R] f32 = largest of each row of logits [R,V'] f32, V' at least 1.
struct VocabRowMaximumArgs {
  Tensor logits, maximum;
};
void vocab_row_maximum(const Stream& stream, const VocabRowMaximumArgs& args);
Cost vocab_row_maximum_cost(const VocabRowMaximumArgs& args);

/// logits [R,V'] become e^(logit - maximum). sums [2,R] f32: of each row's exponentials, and the label's logit minus
/// the maximum where its column is here (0 elsewhere). Columns are [first_id, first_id + V') of the vocabulary.
struct VocabExponentialsArgs {
  Tensor logits, maximum, labels, sums;  ///< labels [R] i32
  int64_t first_id = 0;
};
void vocab_exponentials(const Stream& stream, const VocabExponentialsArgs& args);
Cost vocab_exponentials_cost(const VocabExponentialsArgs& args);

/// From exponentials and sums over the whole vocabulary: loss [R] f32 = log(sum) - label's; a label outside
/// [0, vocabulary) gives 0, and where its row has a weight other than zero it is an error (on cuda: NaN). With
/// row_weight [R] f32 (d objective / d loss) also gradient [R,V'] f32 or bf16 at these logits; rows of weight zero get
/// zeros.
struct VocabLossArgs {
  Tensor exponentials, sums, labels, loss;
  Tensor row_weight, gradient;  ///< optional, both or none
  int64_t first_id = 0, vocabulary = 0;
};
void vocab_loss(const Stream& stream, const VocabLossArgs& args);
Cost vocab_loss_cost(const VocabLossArgs& args);

}  // namespace conclave::kernels
