#include "layers/output_loss.h"

#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"

namespace conclave {

OutputLoss::OutputLoss(ParameterStore& store, const Parameter* tied, int64_t vocab, int64_t hidden, Initializer init)
    : vocab_(vocab), gradient_use_(tied != nullptr ? 1 : 0), table_(tied) {
  if (tied != nullptr) return;
  ParameterSpec spec;
  spec.name = "output_layer.weight";
  spec.shard = ShardSpec::whole({vocab, hidden});
  spec.init = init;
  spec.role = ParameterRole::kOutput;
  table_ = store.declare(spec);
}

LossResult OutputLoss::evaluate(const Context& context, const Tensor& hidden, const LossTargets& targets) const {
  const Tensor rows = hidden.as_matrix();
  LossResult result;
  result.token_loss = context.empty({rows.size(0)}, DType::kF32, "loss.tokens");
  const Weight table(context.store, *table_);
  kernels::linear_cross_entropy(
      context.stream, {.hidden = rows, .weight = table.tensor(), .labels = targets.labels, .loss = result.token_loss});
  return result;
}

LossResult OutputLoss::train(const Context& context, const Tensor& hidden, const LossTargets& targets) const {
  const Tensor rows = hidden.as_matrix();
  LossResult result;
  result.token_loss = context.empty({rows.size(0)}, DType::kF32, "loss.tokens");
  result.dhidden = context.empty(hidden.shape(), "loss.dhidden");
  const Weight table(context.store, *table_);
  kernels::linear_cross_entropy(context.stream, {.hidden = rows,
                                                 .weight = table.tensor(),
                                                 .labels = targets.labels,
                                                 .loss = result.token_loss,
                                                 .row_weight = targets.row_weight,
                                                 .dhidden = result.dhidden.as_matrix(),
                                                 .dweight = context.store.gradient(*table_, gradient_use_)});
  context.store.gradient_complete(*table_);
  return result;
}

Tensor OutputLoss::logits(const Context& context, const Tensor& hidden) const {
  const Tensor rows = hidden.as_matrix();
  const Tensor out = context.empty({rows.size(0), vocab_}, DType::kF32, "logits");
  const Weight table(context.store, *table_);
  kernels::gemm(context.stream, {.a = rows, .b = table.tensor(), .c = out, .transpose_b = kernels::Transpose::kYes});
  return out;
}

}  // namespace conclave
