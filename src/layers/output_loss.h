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
  Tensor dhidden;                         ///< as hidden, if a gradient was asked for
  std::vector<Tensor> prediction_losses;  ///< [T] f32 by prediction depth
};

class OutputLoss {
 public:
  struct Config {
    const Embedding* tied = nullptr;  ///< shares its table; null for a table of its own
    int64_t vocab = 0, hidden = 0;    ///< V, H
    Initializer init;
    Slice tensor;  ///< the table is cut over TP by rows
  };
  /// Declares output_layer.weight [V,H] unless the table is shared.
  OutputLoss(ParameterStore& store, const Config& config);

  // `hidden` [S,B,H]; with sequence parallelism this rank's [S/TP,B,H]. Losses are of all positions on every TP rank.

  /// Loss alone.
  LossResult evaluate(const Context& context, const Tensor& hidden, const LossTargets& targets) const;
  /// Loss and gradient; the table's gradient is added at once (its logits cannot be kept for later).
  LossResult train(const Context& context, const Tensor& hidden, const LossTargets& targets) const;
  /// Logits [T,V] f32 of a few rows: generation.
  Tensor logits(const Context& context, const Tensor& hidden) const;

 private:
  Config config_;
  int gradient_use_ = 0;
  const Parameter* table_;

  LossResult run(const Context& context, const Tensor& hidden, const LossTargets& targets, bool with_gradient) const;
  void run_whole(const Context& context, const Tensor& rows, const LossTargets& targets, const LossResult& out) const;
};

}  // namespace conclave
