// The output product and the loss, fused: logits never stand whole. The gradient is made in the same pass as the loss,
// so a training micro-batch asks for both at once when its backward begins.
#pragma once

#include "layers/embedding.h"
#include "nn/context.h"

namespace conclave {

/// What a micro-batch is scored on.
struct LossTargets {
  Tensor labels;      ///< [T] i32, row t = s*B + b
  Tensor mask;        ///< [T] f32, 1 counts
  Tensor row_weight;  ///< [T] f32, d objective / d loss[t]
};

struct LossResult {
  Tensor token_loss;                      ///< [T] f32, unmasked
  Tensor dhidden;                         ///< [S,B,H], if a gradient was asked for
  std::vector<Tensor> prediction_losses;  ///< [T] f32 by prediction depth
};

class OutputLoss {
 public:
  /// `tied`: the embedding table to share; null for a table of its own, output_layer.weight [V,H].
  OutputLoss(ParameterStore& store, const Parameter* tied, int64_t vocab, int64_t hidden, Initializer init);

  /// Loss alone.
  LossResult evaluate(const Context& context, const Tensor& hidden, const LossTargets& targets) const;
  /// Loss and gradient; the table's gradient is added at once (its logits cannot be kept for later).
  LossResult train(const Context& context, const Tensor& hidden, const LossTargets& targets) const;
  /// Logits [T,V] f32 of a few rows: generation.
  Tensor logits(const Context& context, const Tensor& hidden) const;

 private:
  int64_t vocab_;
  int gradient_use_ = 0;
  const Parameter* table_;
};

}  // namespace conclave
