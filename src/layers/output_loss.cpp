#include "layers/output_loss.h"

#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "layers/tensor_region.h"
#include "layers/vocab_parallel_loss.h"

namespace conclave {

OutputLoss::OutputLoss(ParameterStore& store, const Config& config)
    : config_(config),
      gradient_use_(config.tied != nullptr ? config.tied->output_use() : 0),
      table_(config.tied != nullptr ? &config.tied->table() : nullptr) {
  if (config.tied != nullptr) return;
  ParameterSpec spec;
  spec.name = "output_layer.weight";
  spec.shard = ShardSpec::whole({config.vocab, config.hidden});
  spec.init = config.init;
  spec.role = ParameterRole::kOutput;
  cut_vocabulary(spec, config.tensor);
  table_ = store.declare(spec);
}

LossResult OutputLoss::evaluate(const Context& context, const Tensor& hidden, const LossTargets& targets) const {
  return run(context, hidden, targets, false);
}

LossResult OutputLoss::train(const Context& context, const Tensor& hidden, const LossTargets& targets) const {
  LossResult result = run(context, hidden, targets, true);
  context.store.gradient_complete(*table_);
  return result;
}

LossResult OutputLoss::run(const Context& context, const Tensor& hidden, const LossTargets& targets,
                           bool with_gradient) const {
  const Tensor whole = enter_tensor_region(context, hidden, "loss.hidden");
  const Tensor rows = whole.as_matrix();
  LossResult result;
  result.token_loss = context.empty({rows.size(0)}, DType::kF32, "loss.tokens");
  if (with_gradient) result.dhidden = context.empty(whole.shape(), "loss.dhidden");
  if (config_.tensor.is_whole()) {
    run_whole(context, rows, targets, result);
    return result;
  }
  const Weight table(context.store, *table_);
  vocab_parallel_loss(context, {.hidden = rows,
                                .table = table.tensor(),
                                .targets = targets,
                                .first_id = vocabulary_rows(config_.vocab, config_.tensor).begin,
                                .vocabulary = config_.vocab,
                                .loss = result.token_loss,
                                .dhidden = with_gradient ? result.dhidden.as_matrix() : Tensor(),
                                .dtable = with_gradient ? context.store.gradient(*table_, gradient_use_) : Tensor()});
  if (with_gradient) result.dhidden = leave_tensor_region(context, result.dhidden, "loss.dhidden");
  return result;
}

void OutputLoss::run_whole(const Context& context, const Tensor& rows, const LossTargets& targets,
                           const LossResult& out) const {
  const Weight table(context.store, *table_);
  kernels::LinearCrossEntropyArgs args{
      .hidden = rows, .weight = table.tensor(), .labels = targets.labels, .loss = out.token_loss};
  if (out.dhidden.defined()) {
    args.row_weight = targets.row_weight;
    args.dhidden = out.dhidden.as_matrix();
    args.dweight = context.store.gradient(*table_, gradient_use_);
  }
  kernels::linear_cross_entropy(context.stream, args);
}

Tensor OutputLoss::logits(const Context& context, const Tensor& hidden) const {
  const Tensor rows = enter_tensor_region(context, hidden, "loss.hidden").as_matrix();
  const Tensor out = context.empty({rows.size(0), config_.vocab}, DType::kF32, "logits");
  const Weight table(context.store, *table_);
  if (config_.tensor.is_whole()) {
    kernels::gemm(context.stream, {.a = rows, .b = table.tensor(), .c = out, .transpose_b = kernels::Transpose::kYes});
    return out;
  }
  // Shares follow one another in the vocabulary, so one row's pieces side by side are the row.
  const int64_t share = vocabulary_rows(config_.vocab, {0, config_.tensor.size}).size;
  const Tensor own = context.empty({1, share}, DType::kF32, "logits.own");
  const Tensor gathered = context.empty({share * config_.tensor.size}, DType::kF32, "logits.gathered");
  kernels::fill(context.stream, {.x = own, .value = 0});
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const Tensor columns = own.view({share}).slice(0, table.tensor().size(0)).view({1, table.tensor().size(0)});
    kernels::gemm(
        context.stream,
        {.a = rows.slice(row, row + 1), .b = table.tensor(), .c = columns, .transpose_b = kernels::Transpose::kYes});
    context.groups->of(GroupKind::kTensor).all_gather(context.stream, own.view({share}), gathered, "logits");
    kernels::cast(context.stream,
                  {.x = gathered.slice(0, config_.vocab), .y = out.slice(row, row + 1).view({config_.vocab})});
  }
  return out;
}

}  // namespace conclave
