// One row of logits, handled by a warp: loading, scores, choice. What the routing kernels share. Each lane owns the
// experts lane, lane + 32, ...; rows stand in shared memory.
#pragma once

#include "kernels/cuda/reduce.cuh"
#include "kernels/router_rule.h"

namespace conclave::kernels::cuda {

/// The type that arithmetic in the logits' own precision is done in, and that of probabilities.
template <typename L>
using LogitsMath = std::conditional_t<std::is_same_v<L, double>, double, float>;

inline constexpr int kRouterWarps = 4;               ///< rows that a block handles at a time
inline constexpr int64_t kMostRouterExperts = 2048;  ///< a lane marks its experts in 64 bits

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
    with_math(bf16{});
  } else {
    with_math(float{});
  }
}

inline void check_experts(const char* op, int64_t experts) {
  CONCLAVE_CHECK(experts <= kMostRouterExperts, "[kernels/{}] {} experts; at most {} on cuda", op, experts,
                 kMostRouterExperts);
}

__device__ __forceinline__ float exp_of(float x) { return expf(x); }
__device__ __forceinline__ double exp_of(double x) { return exp(x); }
__device__ __forceinline__ float log_of(float x) { return logf(x); }
__device__ __forceinline__ double log_of(double x) { return log(x); }
__device__ __forceinline__ float log1p_of(float x) { return log1pf(x); }
__device__ __forceinline__ double log1p_of(double x) { return log1p(x); }
__device__ __forceinline__ float sqrt_of(float x) { return sqrtf(x); }
__device__ __forceinline__ double sqrt_of(double x) { return sqrt(x); }

/// A value of type M as a value of the logits' dtype, in the type that probabilities and sums use.
template <typename L, typename M>
__device__ __forceinline__ LogitsMath<L> round_to_logits(M value) {
  return static_cast<LogitsMath<L>>(wide(narrow<L>(value)));
}

template <typename L, typename M>
__device__ __forceinline__ void store_gradient(L* target, M value, bool add) {
  using Sum = LogitsMath<L>;
  const Sum before = add ? static_cast<Sum>(wide(*target)) : Sum{0};
  *target = narrow<L>(before + static_cast<Sum>(value));
}

/// Sums and maxima over a row that the lanes own parts of.
template <typename M>
__device__ __forceinline__ M sum_row(const M* row, int count, int lane) {
  M sum = 0;
  for (int e = lane; e < count; e += kWarp) sum += row[e];
  return sum_lanes(sum);
}
template <typename M>
__device__ __forceinline__ M largest_of_row(const M* row, int count, int lane) {
  M most = -INFINITY;
  for (int e = lane; e < count; e += kWarp) most = row[e] > most ? row[e] : most;
  return max_lanes(most);
}

/// row = e^(row - shift); returns the sum.
template <typename M>
__device__ __forceinline__ M exp_row(M* row, int count, int lane, M shift) {
  M sum = 0;
  for (int e = lane; e < count; e += kWarp) {
    row[e] = exp_of(row[e] - shift);
    sum += row[e];
  }
  return sum_lanes(sum);
}
template <typename M>
__device__ __forceinline__ void softmax_row(M* row, int count, int lane) {
  const M sum = exp_row(row, count, lane, largest_of_row(row, count, lane));
  for (int e = lane; e < count; e += kWarp) row[e] /= sum;
}

template <typename M>
__device__ __forceinline__ M sigmoid_value(M x) {
  return M{1} / (M{1} + exp_of(-x));
}
/// log(1 + e^x); beyond 20 it is x.
template <typename M>
__device__ __forceinline__ M softplus_value(M x) {
  return x > M{20} ? x : log1p_of(exp_of(x));
}

/// Scores of a whole row in place.
template <typename M>
__device__ __forceinline__ void score_row(ScoreFunction score, M* row, int count, int lane) {
  if (score == ScoreFunction::kSoftmax) return softmax_row(row, count, lane);
  for (int e = lane; e < count; e += kWarp)
    row[e] = score == ScoreFunction::kSigmoid ? sigmoid_value(row[e]) : sqrt_of(softplus_value(row[e]));
}

/// d score / d logit of the functions that work element by element. A score that underflowed has slope 0.
template <typename M>
__device__ __forceinline__ M score_slope(ScoreFunction score, M x, M s) {
  if (score == ScoreFunction::kSigmoid) return s * (M{1} - s);
  if (!(s > M{0})) return M{0};
  return (x > M{20} ? M{1} : sigmoid_value(x)) / (M{2} * s);
}

/// Scores of the balancing losses in place; returns what sigmoid and sqrtsoftplus were divided by.
template <typename M>
__device__ __forceinline__ M balance_row(ScoreFunction score, M* row, int count, int lane) {
  score_row(score, row, count, lane);
  if (score == ScoreFunction::kSoftmax) return M{1};
  const M sum = sum_row(row, count, lane) + M{1e-20};
  for (int e = lane; e < count; e += kWarp) row[e] /= sum;
  return sum;
}

/// NaN becomes the largest value, so that a choice is always K distinct experts.
template <typename Key>
__device__ __forceinline__ Key choice_key(Key value) {
  return value != value ? static_cast<Key>(INFINITY) : value;
}

/// Indices of the k largest keys, largest first, among equals the lowest index first; chosen in shared memory.
template <typename Key>
__device__ __forceinline__ void select_top(const Key* keys, int count, int k, int lane, int32_t* chosen) {
  uint64_t taken = 0;
  for (int i = 0; i < k; ++i) {
    Key best = 0;
    int at = count;  // nothing yet
    for (int e = lane, bit = 0; e < count; e += kWarp, ++bit) {
      if ((taken >> bit & 1) != 0) continue;
      if (at == count || keys[e] > best) {
        best = keys[e];
        at = e;
      }
    }
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const Key other = __shfl_xor_sync(0xffffffffu, best, step);
      const int other_at = __shfl_xor_sync(0xffffffffu, at, step);
      const bool better = other_at < count && (at == count || other > best || (other == best && other_at < at));
      if (better) {
        best = other;
        at = other_at;
      }
    }
    if (at % kWarp == lane) taken |= uint64_t{1} << (at / kWarp);
    if (lane == 0) chosen[i] = at;
  }
  __syncwarp();
}

/// Keys outside the best groups become -infinity. With `rounded` group sums are rounded to bf16: the choice is by bf16
/// logits. Groups are few and small: a lane takes whole ones.
template <typename Key>
__device__ __forceinline__ void limit_to_groups(const RouterRule& rule, Key* keys, int experts, int lane, Key* scores,
                                                int32_t* best, bool rounded) {
  const int groups = static_cast<int>(rule.groups), width = experts / groups;
  const int terms = static_cast<int>(rule.group_score == GroupScore::kMaximum  ? 1
                                     : rule.group_score == GroupScore::kTopTwo ? 2
                                                                               : rule.topk / rule.group_topk);
  for (int g = lane; g < groups; g += kWarp) {
    const Key* group = keys + g * width;
    Key sum = 0, last = 0;
    int last_at = -1;
    for (int i = 0; i < terms; ++i) {
      // The next one after (last, last_at) in the order of choice.
      int at = -1;
      for (int e = 0; e < width; ++e) {
        const bool later = last_at < 0 || group[e] < last || (group[e] == last && e > last_at);
        if (later && (at < 0 || group[e] > group[at])) at = e;
      }
      last = group[at];
      last_at = at;
      sum += last;
    }
    if (rounded) sum = static_cast<Key>(__bfloat162float(__float2bfloat16_rn(static_cast<float>(sum))));
    scores[g] = choice_key(sum);
  }
  __syncwarp();
  select_top(scores, groups, static_cast<int>(rule.group_topk), lane, best);
  for (int e = lane; e < experts; e += kWarp) {
    bool in = false;
    for (int i = 0; i < rule.group_topk; ++i) in = in || best[i] == e / width;
    if (!in) keys[e] = -INFINITY;
  }
  __syncwarp();
}

}  // namespace conclave::kernels::cuda
