// Scores, choice of K experts and their probabilities. Logits are [T,E] in the router dtype (f32, f64 or bf16); score
// arithmetic is f32 unless rule.f64_scores; ties go to the lowest index; NaN counts as the largest value.
#pragma once

#include "kernels/router_rule.h"

namespace conclave::kernels {

/// experts [T,K] i32 distinct, best first; probs [T,K] (router_probs_dtype).
/// bias [E] f32, optional: moves the choice, never the probabilities; not with softmax.
/// forced [T,K] i32, optional: routing replay, these experts instead of a choice.
struct RouterTopkArgs {
  RouterRule rule;
  Tensor logits, bias, forced;
  Tensor experts, probs;
};
void router_topk(const Stream& stream, const RouterTopkArgs& args);
Cost router_topk_cost(const RouterTopkArgs& args);

/// dlogits [T,E] of the logits' dtype (+)= gradient of probs through scores and normalisation, not through the choice.
/// experts [T,K] i32 as chosen, before any drop; dprobs [T,K] (router_probs_dtype). Where kept [T,K] i32 (optional) is
/// -1, dprobs is not read: dropped.
struct RouterTopkBackwardArgs {
  RouterRule rule;
  Tensor logits, experts, kept, dprobs, dlogits;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void router_topk_backward(const Stream& stream, const RouterTopkBackwardArgs& args);
Cost router_topk_backward_cost(const RouterTopkBackwardArgs& args);

}  // namespace conclave::kernels
