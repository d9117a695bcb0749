// z-loss, plainly.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/ref/router_rows.h"

namespace conclave::kernels::ref {

template <typename Real>
struct ZLoss {
  int64_t tokens = 0, expert_count = 0;
  Real coefficient = 0;
  const Real* logits = nullptr;      // [T,E]
  const uint8_t* padding = nullptr;  // [T], optional
  Real* dlogits = nullptr;           // [T,E], backward: added to
  Real mean_over = 0;                // > 0: rows that the mean is over

  bool valid(int64_t t) const { return padding == nullptr || padding[t] == 0; }
  Real valid_rows() const {
    Real count = 0;
    for (int64_t t = 0; t < tokens; ++t) count += valid(t) ? 1 : 0;
    return count;
  }
  /// By what d (lse²) / d logits of a row is multiplied.
  Real weight() const { return coefficient / std::max(mean_over > 0 ? mean_over : valid_rows(), Real{1}); }
};

template <typename Real>
Real log_sum_exp(const std::vector<Real>& x) {
  const Real top = *std::max_element(x.begin(), x.end());
  Real sum = 0;
  for (const Real value : x) sum += std::exp(value - top);
  return top + std::log(sum);
}

template <typename Real>
Real z_loss(const ZLoss<Real>& args) {
  Real sum = 0;
  for (int64_t t = 0; t < args.tokens; ++t)
    if (args.valid(t)) sum += std::pow(log_sum_exp(row_of(args.logits, t, args.expert_count)), Real{2});
  return args.weight() * sum;
}

template <typename Real>
void z_loss_backward(const ZLoss<Real>& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (!args.valid(t)) continue;
    const std::vector<Real> x = row_of(args.logits, t, args.expert_count);
    const std::vector<Real> p = softmax(x);
    for (size_t e = 0; e < x.size(); ++e)
      args.dlogits[t * args.expert_count + static_cast<int64_t>(e)] += args.weight() * 2 * log_sum_exp(x) * p[e];
  }
}

}  // namespace conclave::kernels::ref
