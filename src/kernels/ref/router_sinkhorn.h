// Sinkhorn routing, plainly.
#pragma once

#include "kernels/ref/router_rows.h"

namespace conclave::kernels::ref {

template <typename Real>
struct RouterSinkhorn {
  int64_t tokens = 0, expert_count = 0, topk = 1;
  bool balance = true;
  const Real* logits = nullptr;  // [T,E]
  int32_t* experts = nullptr;    // [T,K]
  Real* probs = nullptr;         // [T,K]
  const Real* dprobs = nullptr;  // [T,K], backward
  Real* dlogits = nullptr;       // [T,E], backward: added to
};

template <typename Real>
std::vector<Real> sinkhorn_matrix(const RouterSinkhorn<Real>& args) {
  const int64_t tokens = args.tokens, experts = args.expert_count;
  const auto at = [&](int64_t t, int64_t e) { return std::exp(args.logits[t * experts + e]); };
  std::vector<Real> d0(static_cast<size_t>(tokens)), d1(static_cast<size_t>(experts), 1);
  double change = 1e9;
  while (tokens > 0 && change > 1e-4) {
    for (int64_t t = 0; t < tokens; ++t) {
      Real sum = 0;
      for (int64_t e = 0; e < experts; ++e) sum += d1[static_cast<size_t>(e)] * at(t, e);
      d0[static_cast<size_t>(t)] = (Real{1} / static_cast<Real>(tokens)) / (sum + Real{1e-8});
    }
    change = 0;
    for (int64_t e = 0; e < experts; ++e) {
      Real sum = 0;
      for (int64_t t = 0; t < tokens; ++t) sum += d0[static_cast<size_t>(t)] * at(t, e);
      const Real next = (Real{1} / static_cast<Real>(experts)) / (sum + Real{1e-8});
      change += std::fabs(next - d1[static_cast<size_t>(e)]) / static_cast<double>(experts);
      d1[static_cast<size_t>(e)] = next;
    }
  }
  std::vector<Real> out;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t e = 0; e < experts; ++e)
      out.push_back(d1[static_cast<size_t>(e)] * at(t, e) * d0[static_cast<size_t>(t)]);
  return out;
}

template <typename Real>
void router_sinkhorn(const RouterSinkhorn<Real>& args) {
  const ScoreFunction activation = args.topk == 1 ? ScoreFunction::kSigmoid : ScoreFunction::kSoftmax;
  const std::vector<Real> balanced = args.balance ? sinkhorn_matrix(args) : std::vector<Real>();
  for (int64_t t = 0; t < args.tokens; ++t) {
    const std::vector<Real> s = scores(activation, row_of(args.logits, t, args.expert_count));
    const std::vector<int32_t> experts =
        top(args.balance ? row_of(balanced.data(), t, args.expert_count) : s, args.topk);
    for (int64_t k = 0; k < args.topk; ++k) {
      args.experts[t * args.topk + k] = experts[static_cast<size_t>(k)];
      args.probs[t * args.topk + k] = s[static_cast<size_t>(experts[static_cast<size_t>(k)])];
    }
  }
}

template <typename Real>
void router_sinkhorn_backward(const RouterSinkhorn<Real>& args) {
  const ScoreFunction activation = args.topk == 1 ? ScoreFunction::kSigmoid : ScoreFunction::kSoftmax;
  for (int64_t t = 0; t < args.tokens; ++t) {
    std::vector<Real> ds(static_cast<size_t>(args.expert_count), 0);
    for (int64_t k = 0; k < args.topk; ++k)
      ds[static_cast<size_t>(args.experts[t * args.topk + k])] += args.dprobs[t * args.topk + k];
    const std::vector<Real> dx = scores_backward(activation, row_of(args.logits, t, args.expert_count), ds);
    for (int64_t e = 0; e < args.expert_count; ++e)
      args.dlogits[t * args.expert_count + e] += dx[static_cast<size_t>(e)];
  }
}

}  // namespace conclave::kernels::ref
