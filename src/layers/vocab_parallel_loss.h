// The output product and cross-entropy where TP cuts the vocabulary: in chunks of rows, f32 logits of this rank's
// columns only, and two small reductions per chunk (Shoeybi et al. 2019, section 3).
#pragma once

#include "layers/output_loss.h"

namespace conclave {

struct VocabParallelLossArgs {
  Tensor hidden;  ///< [T,H], the same on every TP rank
  Tensor table;   ///< [V',H], rows [first_id, first_id + V') of the vocabulary
  LossTargets targets;
  int64_t first_id = 0, vocabulary = 0;
  Tensor loss;             ///< [T] f32 out
  Tensor dhidden, dtable;  ///< optional, both or none: this rank's part [T,H] (overwritten), [V',H] f32 (added to)
};
void vocab_parallel_loss(const Context& context, const VocabParallelLossArgs& args);

}  // namespace conclave
