#include "kernels/router_balance.h"

#include <algorithm>

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(balance_scores, BalanceScoresArgs)
CONCLAVE_KERNEL_BACKENDS(running_counts, RunningCountsArgs)
CONCLAVE_KERNEL_BACKENDS(balance_loss, BalanceLossArgs)
CONCLAVE_KERNEL_BACKENDS(balance_backward, BalanceBackwardArgs)
CONCLAVE_KERNEL_BACKENDS(expert_bias_update, ExpertBiasUpdateArgs)

namespace {

void check_rows(const char* op, const Tensor& logits, const Tensor& padding, int64_t batch) {
  CONCLAVE_CHECK(logits.defined() && logits.rank() == 2, "[kernels/{}] logits must be [T,E]; got {}", op,
                 describe(logits));
  CONCLAVE_CHECK(batch > 0 && logits.size(0) % batch == 0, "[kernels/{}] B must divide T; got B {} and T {}", op, batch,
                 logits.size(0));
  if (padding.defined()) check_tensor(op, "padding", padding, {logits.size(0)}, DType::kU8);
}

void check_scalar(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.defined()) check_tensor(op, name, tensor, {1}, DType::kF64);
}

}  // namespace

void balance_scores(const Stream& stream, const BalanceScoresArgs& args) {
  const char* op = "balance_scores";
  check_rows(op, args.logits, args.padding, args.batch);
  const int64_t experts = args.logits.size(1);
  CONCLAVE_CHECK(1 <= args.rule.topk && args.rule.topk <= experts, "[kernels/{}] 1 <= K <= E; got K {} and E {}", op,
                 args.rule.topk, experts);
  check_tensor(op, "counts", args.counts, {args.batch, experts}, DType::kF32);
  check_tensor(op, "score_sums", args.score_sums, {args.batch, experts}, DType::kF64);
  if (args.scores.defined())
    check_tensor(op, "scores", args.scores, args.logits.shape(), args.rule.f64_scores ? DType::kF64 : DType::kF32);
  if (args.map.defined()) check_tensor(op, "map", args.map, args.logits.shape(), DType::kU8);
  // How many blocks there are follows from the shape alone, so the order of sums does too.
  const int64_t blocks = std::clamp<int64_t>(args.logits.size(0) / args.batch / 64, 1, 32);
  BalanceScoresArgs full = args;
  full.workspace = Tensor::empty(args.logits.device(), {blocks, 2, args.batch, experts}, DType::kF64,
                                 {MemoryCategory::kWorkspace, "balance_scores"});
  CONCLAVE_KERNEL_DISPATCH(balance_scores, stream, full);
}

Cost balance_scores_cost(const BalanceScoresArgs& args) {
  return {6 * static_cast<double>(args.logits.element_count()), bytes_of(args.logits) + bytes_of(args.padding) +
                                                                    bytes_of(args.counts) + bytes_of(args.score_sums) +
                                                                    bytes_of(args.scores) + bytes_of(args.map)};
}

void running_counts(const Stream& stream, const RunningCountsArgs& args) {
  const char* op = "running_counts";
  CONCLAVE_CHECK(args.counts.defined() && args.counts.rank() == 2 && args.counts.dtype() == DType::kF32,
                 "[kernels/{}] counts must be [B,E] f32; got {}", op, describe(args.counts));
  const Shape experts{args.counts.size(1)};
  if (args.previous.defined()) check_tensor(op, "previous", args.previous, experts, DType::kF32);
  check_tensor(op, "total", args.total, experts, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(running_counts, stream, args);
}

Cost running_counts_cost(const RunningCountsArgs& args) {
  return {static_cast<double>(args.counts.element_count()),
          bytes_of(args.counts) + bytes_of(args.previous) + bytes_of(args.total)};
}

void balance_loss(const Stream& stream, const BalanceLossArgs& args) {
  const char* op = "balance_loss";
  CONCLAVE_CHECK(args.counts.defined() && args.counts.rank() == 2 && args.counts.dtype() == DType::kF32,
                 "[kernels/{}] counts must be [B,E] f32; got {}", op, describe(args.counts));
  check_tensor(op, "score_sums", args.score_sums, args.counts.shape(), DType::kF64);
  if (args.kind == BalanceKind::kGlobal) {
    check_tensor(op, "running", args.running, {args.counts.size(1)}, DType::kF32);
    CONCLAVE_CHECK(args.running_steps > 0, "[kernels/{}] running counts of {} micro-batches", op, args.running_steps);
  }
  if (args.slope.defined()) check_tensor(op, "slope", args.slope, args.counts.shape(), DType::kF64);
  check_scalar(op, "loss", args.loss);
  check_scalar(op, "logged", args.logged);
  CONCLAVE_KERNEL_DISPATCH(balance_loss, stream, args);
}

Cost balance_loss_cost(const BalanceLossArgs& args) {
  return {5 * static_cast<double>(args.counts.element_count()),
          bytes_of(args.counts) + bytes_of(args.score_sums) + bytes_of(args.running) + 2 * bytes_of(args.slope)};
}

void balance_backward(const Stream& stream, const BalanceBackwardArgs& args) {
  const char* op = "balance_backward";
  check_rows(op, args.logits, args.padding, args.batch);
  check_tensor(op, "slope", args.slope, {args.batch, args.logits.size(1)}, DType::kF64);
  check_tensor(op, "dlogits", args.dlogits, args.logits.shape(), args.logits.dtype());
  CONCLAVE_KERNEL_DISPATCH(balance_backward, stream, args);
}

Cost balance_backward_cost(const BalanceBackwardArgs& args) {
  return {10 * static_cast<double>(args.logits.element_count()),
          3 * bytes_of(args.logits) + bytes_of(args.padding) + bytes_of(args.slope)};
}

void expert_bias_update(const Stream& stream, const ExpertBiasUpdateArgs& args) {
  const char* op = "expert_bias_update";
  CONCLAVE_CHECK(args.counts.defined() && args.counts.rank() == 1 && args.counts.dtype() == DType::kF32,
                 "[kernels/{}] counts must be [E] f32; got {}", op, describe(args.counts));
  check_tensor(op, "bias", args.bias, args.counts.shape(), DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(expert_bias_update, stream, args);
}

Cost expert_bias_update_cost(const ExpertBiasUpdateArgs& args) {
  return {3 * static_cast<double>(args.counts.element_count()), bytes_of(args.counts) + 2 * bytes_of(args.bias)};
}

}  // namespace conclave::kernels
