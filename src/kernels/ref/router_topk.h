// Choice of experts and probabilities, plainly.
#pragma once

#include "kernels/ref/router_rows.h"

namespace conclave::kernels::ref {

template <typename Real>
struct RouterTopk {
  RouterRule rule;
  int64_t tokens = 0, expert_count = 0;
  const Real* logits = nullptr;     // [T,E]
  const Real* bias = nullptr;       // [E], optional
  const int32_t* forced = nullptr;  // [T,K], optional
  int32_t* experts = nullptr;       // [T,K]
  Real* probs = nullptr;            // [T,K]
  const int32_t* kept = nullptr;    // [T,K], backward, optional
  const Real* dprobs = nullptr;     // [T,K], backward
  Real* dlogits = nullptr;          // [T,E], backward: added to
};

/// What probabilities are made of before normalisation: raw logits (softmax over the chosen) or scores.
inline bool chooses_by_logits(const RouterRule& rule) {
  return rule.score == ScoreFunction::kSoftmax && !rule.pre_softmax;
}

template <typename Real>
void router_topk(const RouterTopk<Real>& args) {
  const RouterRule& rule = args.rule;
  for (int64_t t = 0; t < args.tokens; ++t) {
    const std::vector<Real> x = row_of(args.logits, t, args.expert_count);
    const std::vector<Real> s = chooses_by_logits(rule) ? x : scores(rule.score, x);
    std::vector<Real> keys = s;
    for (size_t e = 0; e < keys.size(); ++e) keys[e] += args.bias != nullptr ? args.bias[e] : 0;
    const std::vector<int32_t> experts =
        args.forced != nullptr ? row_of(args.forced, t, rule.topk) : choose(rule, keys);
    std::vector<Real> p = pick(s, experts);
    if (chooses_by_logits(rule)) p = softmax(p);
    if (rule.normalises()) p = normalise(p);
    for (int64_t k = 0; k < rule.topk; ++k) {
      args.experts[t * rule.topk + k] = experts[static_cast<size_t>(k)];
      args.probs[t * rule.topk + k] =
          p[static_cast<size_t>(k)] * (rule.scaling_factor != 0 ? static_cast<Real>(rule.scaling_factor) : 1);
    }
  }
}

template <typename Real>
void router_topk_backward(const RouterTopk<Real>& args) {
  const RouterRule& rule = args.rule;
  for (int64_t t = 0; t < args.tokens; ++t) {
    const std::vector<Real> x = row_of(args.logits, t, args.expert_count);
    const std::vector<Real> s = chooses_by_logits(rule) ? x : scores(rule.score, x);
    const std::vector<int32_t> experts = row_of(args.experts, t, rule.topk);
    std::vector<Real> dp = row_of(args.dprobs, t, rule.topk);
    for (size_t k = 0; k < dp.size(); ++k) {
      if (rule.scaling_factor != 0) dp[k] *= static_cast<Real>(rule.scaling_factor);
      if (args.kept != nullptr && args.kept[t * rule.topk + static_cast<int64_t>(k)] < 0) dp[k] = 0;
    }
    const std::vector<Real> values = pick(s, experts);
    if (chooses_by_logits(rule)) dp = scores_backward(ScoreFunction::kSoftmax, values, dp);
    if (rule.normalises()) dp = normalise_backward(values, dp);
    std::vector<Real> ds(s.size(), 0);
    for (size_t k = 0; k < dp.size(); ++k) ds[static_cast<size_t>(experts[k])] += dp[k];
    if (!chooses_by_logits(rule)) ds = scores_backward(rule.score, x, ds);
    for (size_t e = 0; e < ds.size(); ++e) args.dlogits[t * args.expert_count + static_cast<int64_t>(e)] += ds[e];
  }
}

}  // namespace conclave::kernels::ref
