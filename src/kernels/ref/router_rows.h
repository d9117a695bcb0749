// Plain truth for one row of logits: scores, their derivative, choice by a stable sort.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/router_rule.h"

namespace conclave::kernels::ref {

template <typename Real>
std::vector<Real> softmax(const std::vector<Real>& x) {
  const Real top = *std::max_element(x.begin(), x.end());
  std::vector<Real> out;
  Real sum = 0;
  for (const Real value : x) sum += std::exp(value - top);
  for (const Real value : x) out.push_back(std::exp(value - top) / sum);
  return out;
}

template <typename Real>
Real softplus(Real x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

/// Scores of a row over all experts.
template <typename Real>
std::vector<Real> scores(ScoreFunction function, const std::vector<Real>& x) {
  if (function == ScoreFunction::kSoftmax) return softmax(x);
  std::vector<Real> out;
  for (const Real value : x)
    out.push_back(function == ScoreFunction::kSigmoid ? 1 / (1 + std::exp(-value)) : std::sqrt(softplus(value)));
  return out;
}

/// d objective / d logits from d objective / d scores.
template <typename Real>
std::vector<Real> scores_backward(ScoreFunction function, const std::vector<Real>& x,
                                  const std::vector<Real>& dscores) {
  const std::vector<Real> s = scores(function, x);
  const Real dot = std::inner_product(s.begin(), s.end(), dscores.begin(), Real{0});
  std::vector<Real> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const Real sigmoid = 1 / (1 + std::exp(-x[i]));
    if (function == ScoreFunction::kSoftmax) out[i] = s[i] * (dscores[i] - dot);
    if (function == ScoreFunction::kSigmoid) out[i] = dscores[i] * sigmoid * (1 - sigmoid);
    if (function == ScoreFunction::kSqrtSoftplus) out[i] = dscores[i] * (x[i] > 20 ? Real{1} : sigmoid) / (2 * s[i]);
  }
  return out;
}

/// y = x / (Σx + 1e-20), and its gradient.
template <typename Real>
std::vector<Real> normalise(const std::vector<Real>& x) {
  const Real sum = std::accumulate(x.begin(), x.end(), Real{0}) + Real{1e-20};
  std::vector<Real> out;
  for (const Real value : x) out.push_back(value / sum);
  return out;
}
template <typename Real>
std::vector<Real> normalise_backward(const std::vector<Real>& x, const std::vector<Real>& dy) {
  const Real sum = std::accumulate(x.begin(), x.end(), Real{0}) + Real{1e-20};
  const Real dot = std::inner_product(x.begin(), x.end(), dy.begin(), Real{0});
  std::vector<Real> out;
  for (const Real d : dy) out.push_back((d - dot / sum) / sum);
  return out;
}

/// The k largest, largest first, lowest index first among equals.
template <typename Real>
std::vector<int32_t> top(const std::vector<Real>& keys, int64_t k) {
  std::vector<int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)]; });
  order.resize(static_cast<size_t>(k));
  return order;
}

/// The choice of one row under the group limit.
template <typename Real>
std::vector<int32_t> choose(const RouterRule& rule, std::vector<Real> keys) {
  if (rule.group_topk > 0) {
    const auto width = static_cast<int64_t>(keys.size()) / rule.groups;
    const int64_t terms = rule.group_terms();
    std::vector<Real> group_scores;
    for (int64_t g = 0; g < rule.groups; ++g) {
      std::vector<Real> group(keys.begin() + g * width, keys.begin() + (g + 1) * width);
      std::stable_sort(group.begin(), group.end(), std::greater<>());
      group_scores.push_back(std::accumulate(group.begin(), group.begin() + terms, Real{0}));
    }
    const std::vector<int32_t> best = top(group_scores, rule.group_topk);
    for (int64_t e = 0; e < static_cast<int64_t>(keys.size()); ++e)
      if (std::find(best.begin(), best.end(), e / width) == best.end())
        keys[static_cast<size_t>(e)] = -std::numeric_limits<Real>::infinity();
  }
  return top(keys, rule.topk);
}

template <typename Real>
std::vector<Real> row_of(const Real* matrix, int64_t row, int64_t width) {
  return std::vector<Real>(matrix + row * width, matrix + (row + 1) * width);
}

template <typename Real>
std::vector<Real> pick(const std::vector<Real>& row, const std::vector<int32_t>& experts) {
  std::vector<Real> out;
  for (const int32_t e : experts) out.push_back(row[static_cast<size_t>(e)]);
  return out;
}

}  // namespace conclave::kernels::ref
