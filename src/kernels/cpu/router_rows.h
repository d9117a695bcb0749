// One row of logits on the CPU: loading, scores, choice. What the routing kernels share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/cpu/vector_math.h"
#include "kernels/router_rule.h"

namespace conclave::kernels::cpu {

/// The type that arithmetic in the logits' own precision is done in.
template <typename L>
using LogitsMath = std::conditional_t<std::is_same_v<L, double>, double, float>;
/// The element type of probabilities for logits of type L.
template <typename L>
using ProbsOf = LogitsMath<L>;

/// Calls body(L{}, M{}): element type of the logits, type of score arithmetic.
template <typename Body>
void with_logits(DType logits, bool f64_scores, Body body) {
  const auto with_math = [&](auto element) {
    if (f64_scores) {
      body(element, double{});
    } else {
      body(element, float{});
    }
  };
  if (logits == DType::kF64) {
    with_math(double{});
  } else if (logits == DType::kBF16) {
    with_math(BF16{});
  } else {
    with_math(float{});
  }
}

/// padding [T] u8, optional.
inline bool is_padding(const Tensor& padding, int64_t t) {
  return padding.defined() && padding.data<uint8_t>()[t] != 0;
}
/// Writes a [1] f64 output that may be absent.
inline void put_scalar(const Tensor& target, double value) {
  if (target.defined()) *target.data<double>() = value;
}

/// Below this many elements a second thread costs more than it brings.
inline constexpr int64_t kRouterParallelElements = 1 << 14;

template <typename L, typename M>
M load_element(L value) {
  return static_cast<M>(to_float(value));
}
template <typename L, typename M>
void load_row(const L* source, int64_t count, M* row) {
  for (int64_t i = 0; i < count; ++i) row[i] = load_element<L, M>(source[i]);
}

/// A value of type M as a value of the logits' dtype, in the type that probabilities and sums use.
template <typename L, typename M>
ProbsOf<L> round_to_logits(M value) {
  if constexpr (std::is_same_v<L, BF16>) {
    return to_float(to_bf16(static_cast<float>(value)));
  } else {
    return static_cast<ProbsOf<L>>(value);
  }
}

template <typename L, typename M>
void store_gradient(L* target, M value, Accumulate accumulate) {
  if constexpr (std::is_same_v<L, BF16>) {
    const float before = accumulate == Accumulate::kAdd ? to_float(*target) : 0.0f;
    *target = to_bf16(before + static_cast<float>(value));
  } else {
    const L before = accumulate == Accumulate::kAdd ? *target : L{0};
    *target = before + static_cast<L>(value);
  }
}

template <typename M>
M largest(const M* row, int64_t count) {
  M best = row[0];
  for (int64_t i = 1; i < count; ++i) best = row[i] > best ? row[i] : best;
  return best;
}

/// row = e^(row - shift); returns the sum.
inline float exp_row(float* row, int64_t count, float shift) {
  VecF sums{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VecF value = exp(load(row + i) - shift);
    store(row + i, value);
    sums += value;
  }
  float sum = sum_lanes(sums);
  if (i < count) {
    const VecF value = exp(load_first(row + i, count - i) - shift);
    store_first(row + i, value, count - i);
    for (; i < count; ++i) sum += row[i];
  }
  return sum;
}
inline double exp_row(double* row, int64_t count, double shift) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    row[i] = std::exp(row[i] - shift);
    sum += row[i];
  }
  return sum;
}

template <typename M>
void softmax_row(M* row, int64_t count) {
  const M sum = exp_row(row, count, largest(row, count));
  for (int64_t i = 0; i < count; ++i) row[i] /= sum;
}

template <typename M>
M sigmoid_value(M x) {
  return M{1} / (M{1} + std::exp(-x));
}
/// log(1 + e^x); beyond 20 it is x.
template <typename M>
M softplus_value(M x) {
  return x > M{20} ? x : std::log1p(std::exp(x));
}

inline void sigmoid_row(float* row, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(row + i, sigmoid(load(row + i)));
  if (i < count) store_first(row + i, sigmoid(load_first(row + i, count - i)), count - i);
}
inline void sigmoid_row(double* row, int64_t count) {
  for (int64_t i = 0; i < count; ++i) row[i] = sigmoid_value(row[i]);
}

/// Scores of a whole row in place.
template <typename M>
void score_row(ScoreFunction score, M* row, int64_t count) {
  switch (score) {
    case ScoreFunction::kSoftmax:
      softmax_row(row, count);
      break;
    case ScoreFunction::kSigmoid:
      sigmoid_row(row, count);
      break;
    case ScoreFunction::kSqrtSoftplus:
      for (int64_t i = 0; i < count; ++i) row[i] = std::sqrt(softplus_value(row[i]));
      break;
  }
}

/// d score / d logit of the functions that work element by element. A score that underflowed has slope 0.
template <typename M>
M score_slope(ScoreFunction score, M x, M s) {
  if (score == ScoreFunction::kSigmoid) return s * (M{1} - s);
  if (!(s > M{0})) return M{0};
  return (x > M{20} ? M{1} : sigmoid_value(x)) / (M{2} * s);
}

/// NaN becomes the largest value, so that a choice is always K distinct experts.
template <typename Key>
Key choice_key(Key value) {
  return std::isnan(value) ? std::numeric_limits<Key>::infinity() : value;
}

/// Indices of the k largest keys, largest first, among equals the lowest index first.
template <typename Key>
void select_top(const Key* keys, int64_t count, int64_t k, int32_t* chosen) {
  int64_t held = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (held == k && !(keys[i] > keys[chosen[k - 1]])) continue;
    int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && keys[i] > keys[chosen[at - 1]]; --at) chosen[at] = chosen[at - 1];
    chosen[at] = static_cast<int32_t>(i);
  }
}

/// What a choice needs beside the keys themselves.
template <typename Key>
struct ChoiceScratch {
  explicit ChoiceScratch(const RouterRule& rule)
      : group_scores(static_cast<size_t>(rule.groups)),
        order(static_cast<size_t>(std::max<int64_t>({rule.topk, rule.groups, 2}))) {}
  std::vector<Key> group_scores;
  std::vector<int32_t> order;
};

/// Keys outside the best groups become -infinity. With `bf16` group sums are rounded to bf16: the choice is by bf16
/// logits.
template <typename Key>
void limit_to_groups(const RouterRule& rule, Key* keys, int64_t experts, ChoiceScratch<Key>& scratch, bool bf16) {
  const int64_t width = experts / rule.groups;
  const int64_t terms = rule.group_terms();
  int32_t* order = scratch.order.data();
  for (int64_t g = 0; g < rule.groups; ++g) {
    const Key* group = keys + g * width;
    select_top(group, width, terms, order);
    Key sum = 0;
    for (int64_t i = 0; i < terms; ++i) sum += group[order[i]];
    if (bf16) sum = static_cast<Key>(to_float(to_bf16(static_cast<float>(sum))));
    scratch.group_scores[static_cast<size_t>(g)] = choice_key(sum);
  }
  select_top(scratch.group_scores.data(), rule.groups, rule.group_topk, order);
  for (int64_t g = 0; g < rule.groups; ++g) {
    bool in = false;
    for (int64_t i = 0; i < rule.group_topk; ++i) in = in || order[i] == g;
    if (in) continue;
    for (int64_t e = g * width; e < (g + 1) * width; ++e) keys[e] = -std::numeric_limits<Key>::infinity();
  }
}

/// The choice of one row; keys are changed.
template <typename Key>
void choose(const RouterRule& rule, Key* keys, int64_t experts, ChoiceScratch<Key>& scratch, bool bf16,
            int32_t* chosen) {
  if (rule.group_topk > 0) limit_to_groups(rule, keys, experts, scratch, bf16);
  select_top(keys, experts, rule.topk, chosen);
}

}  // namespace conclave::kernels::cpu
