#include "kernels/router_topk.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_topk, RouterTopkArgs)
CONCLAVE_KERNEL_BACKENDS(router_topk_backward, RouterTopkBackwardArgs)

namespace {

void check_rule(const char* op, const RouterRule& rule, int64_t experts) {
  CONCLAVE_CHECK(1 <= rule.topk && rule.topk <= experts, "[kernels/{}] 1 <= K <= E; got K {} and E {}", op, rule.topk,
                 experts);
  if (rule.group_topk == 0) return;
  CONCLAVE_CHECK(rule.groups > 0 && experts % rule.groups == 0 && rule.group_topk <= rule.groups,
                 "[kernels/{}] groups must divide E and hold group_topk; got E {}, groups {}, group_topk {}", op,
                 experts, rule.groups, rule.group_topk);
  const int64_t width = experts / rule.groups;
  const int64_t terms = rule.group_terms();
  CONCLAVE_CHECK(1 <= terms && terms <= width && rule.group_topk * width >= rule.topk,
                 "[kernels/{}] K must fit the chosen groups: a group has {} of the {} experts that score it, and K <= "
                 "group_topk*E/groups; got K {}, group_topk {}, E/groups {}",
                 op, width, terms, rule.topk, rule.group_topk, width);
}

void check_logits(const char* op, const Tensor& logits) {
  CONCLAVE_CHECK(
      logits.defined() && logits.rank() == 2 && is_floating(logits.dtype()) && dtype_size(logits.dtype()) > 1,
      "[kernels/{}] logits must be [T,E] f32, f64 or bf16; got {}", op, describe(logits));
}

}  // namespace

void router_topk(const Stream& stream, const RouterTopkArgs& args) {
  const char* op = "router_topk";
  check_logits(op, args.logits);
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1), topk = args.rule.topk;
  check_rule(op, args.rule, experts);
  if (args.bias.defined()) {
    check_tensor(op, "bias", args.bias, {experts}, DType::kF32);
    CONCLAVE_CHECK(args.rule.score != ScoreFunction::kSoftmax, "[kernels/{}] a bias goes with sigmoid or sqrtsoftplus",
                   op);
  }
  if (args.forced.defined()) check_tensor(op, "forced", args.forced, {tokens, topk}, DType::kI32);
  check_tensor(op, "experts", args.experts, {tokens, topk}, DType::kI32);
  check_tensor(op, "probs", args.probs, {tokens, topk}, router_probs_dtype(args.logits.dtype()));
  CONCLAVE_KERNEL_DISPATCH(router_topk, stream, args);
}

Cost router_topk_cost(const RouterTopkArgs& args) {
  const double scores = static_cast<double>(args.logits.element_count());
  const double chosen = static_cast<double>(args.experts.element_count());
  return {4 * scores + 8 * chosen,
          static_cast<double>(args.logits.bytes() + args.experts.bytes() + args.probs.bytes())};
}

void router_topk_backward(const Stream& stream, const RouterTopkBackwardArgs& args) {
  const char* op = "router_topk_backward";
  check_logits(op, args.logits);
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1), topk = args.rule.topk;
  check_rule(op, args.rule, experts);
  check_tensor(op, "experts", args.experts, {tokens, topk}, DType::kI32);
  if (args.kept.defined()) check_tensor(op, "kept", args.kept, {tokens, topk}, DType::kI32);
  check_tensor(op, "dprobs", args.dprobs, {tokens, topk}, router_probs_dtype(args.logits.dtype()));
  check_tensor(op, "dlogits", args.dlogits, args.logits.shape(), args.logits.dtype());
  CONCLAVE_KERNEL_DISPATCH(router_topk_backward, stream, args);
}

Cost router_topk_backward_cost(const RouterTopkBackwardArgs& args) {
  const double scores = static_cast<double>(args.logits.element_count());
  const double chosen = static_cast<double>(args.experts.element_count());
  const double passes = args.accumulate == Accumulate::kAdd ? 3 : 2;
  return {4 * scores + 12 * chosen, passes * static_cast<double>(args.logits.bytes()) +
                                        static_cast<double>(args.experts.bytes() + args.dprobs.bytes())};
}

}  // namespace conclave::kernels
