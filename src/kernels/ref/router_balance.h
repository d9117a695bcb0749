// Balancing losses, plainly: dense scores and map, one sum per loss.
#pragma once

#include "kernels/ref/router_rows.h"
#include "kernels/router_balance.h"

namespace conclave::kernels::ref {

template <typename Real>
struct Balance {
  RouterRule rule;
  int64_t tokens = 0, expert_count = 0, batch = 1;
  const Real* logits = nullptr;      // [T,E]
  const uint8_t* padding = nullptr;  // [T], optional
  Real* scores = nullptr;            // [T,E]
  Real* map = nullptr;               // [T,E]
  const Real* slope = nullptr;       // [B,E], backward
  Real* dlogits = nullptr;           // [T,E], backward: added to
};

template <typename Real>
void balance_scores(const Balance<Real>& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    std::vector<Real> s = scores(args.rule.score, row_of(args.logits, t, args.expert_count));
    if (args.rule.score != ScoreFunction::kSoftmax) s = normalise(s);
    const bool counts = args.padding == nullptr || args.padding[t] == 0;
    Real* map = args.map + t * args.expert_count;
    std::fill(map, map + args.expert_count, Real{0});
    for (const int32_t e : top(s, args.rule.topk)) map[e] = counts ? 1 : 0;
    for (size_t e = 0; e < s.size(); ++e)
      args.scores[t * args.expert_count + static_cast<int64_t>(e)] = counts ? s[e] : 0;
  }
}

template <typename Real>
void balance_backward(const Balance<Real>& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (args.padding != nullptr && args.padding[t] != 0) continue;
    const std::vector<Real> x = row_of(args.logits, t, args.expert_count);
    std::vector<Real> d = row_of(args.slope, t % args.batch, args.expert_count);
    if (args.rule.score != ScoreFunction::kSoftmax) d = normalise_backward(scores(args.rule.score, x), d);
    d = scores_backward(args.rule.score, x, d);
    for (size_t e = 0; e < d.size(); ++e) args.dlogits[t * args.expert_count + static_cast<int64_t>(e)] += d[e];
  }
}

/// One loss and its gradient by each score, from the dense scores [T,E] and map [T,E].
template <typename Real>
struct BalanceLossResult {
  Real loss = 0;
  std::vector<Real> dscores;  // [T,E]
};

template <typename Real>
BalanceLossResult<Real> balance_loss(const Balance<Real>& args, const BalanceLossArgs& rule, const Real* running) {
  const int64_t experts = args.expert_count, batch = args.batch;
  const Real choices = std::accumulate(args.map, args.map + args.tokens * experts, Real{0});
  const Real valid = choices / static_cast<Real>(rule.topk);
  const bool by_sequence = rule.kind == BalanceKind::kSequence;
  const Real length = by_sequence ? valid / static_cast<Real>(batch) : valid;
  BalanceLossResult<Real> out;
  out.dscores.assign(static_cast<size_t>(args.tokens * experts), 0);
  if (valid == 0) return out;
  const Real factor = static_cast<Real>(rule.coefficient) * static_cast<Real>(experts) /
                      (static_cast<Real>(rule.topk) * length * length * (by_sequence ? static_cast<Real>(batch) : 1));
  for (int64_t t = 0; t < args.tokens; ++t)
    for (int64_t e = 0; e < experts; ++e) {
      Real count = 0;
      for (int64_t other = 0; other < args.tokens; ++other)
        if (!by_sequence || other % batch == t % batch) count += args.map[other * experts + e];
      if (rule.kind == BalanceKind::kGlobal)
        count = static_cast<float>(running[e]) / static_cast<float>(rule.running_steps);
      out.loss += factor * args.scores[t * experts + e] * count;
      out.dscores[static_cast<size_t>(t * experts + e)] = factor * count;
    }
  return out;
}

}  // namespace conclave::kernels::ref
