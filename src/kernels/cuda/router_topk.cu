#include "kernels/router_topk.h"

#include "kernels/cuda/router_rows.cuh"

namespace conclave::kernels::cuda {
namespace {

__host__ __device__ bool chooses_by_logits(const RouterRule& rule) {
  return rule.score == ScoreFunction::kSoftmax && !rule.pre_softmax;
}
__host__ __device__ bool divides_by_sum(const RouterRule& rule) {
  return rule.score != ScoreFunction::kSoftmax && (rule.normalisation == Normalisation::kAlways ||
                                                   (rule.normalisation == Normalisation::kByCount && rule.topk > 1));
}

/// Probabilities of the chosen experts without the scaling factor, from raw logits or scores, in place; lanes own the
/// choices. Returns what they were divided by.
template <typename M>
__device__ __forceinline__ M normalise_chosen(const RouterRule& rule, M* values, int lane) {
  const int topk = static_cast<int>(rule.topk);
  if (chooses_by_logits(rule)) {
    softmax_row(values, topk, lane);
    return M{1};
  }
  if (!divides_by_sum(rule)) return M{1};
  const M sum = sum_row(values, topk, lane) + M{1e-20};
  for (int k = lane; k < topk; k += kWarp) values[k] /= sum;
  return sum;
}

/// Shared memory of one row, in elements of 8 bytes: row [E], keys [E], values [K], scores of groups [G], chosen [K or
/// G].
struct Layout {
  int experts, topk, groups;
  __host__ __device__ int chosen_room() const { return topk > groups ? topk : groups; }
  __host__ __device__ size_t bytes() const { return 8 * (2 * size_t(experts) + topk + groups + chosen_room()); }
};

template <typename L, typename M>
struct Forward {
  RouterRule rule;
  const L* logits;
  const float* bias;
  const int32_t* forced;
  int32_t* experts;
  LogitsMath<L>* probs;
  int64_t tokens;
  Layout layout;
};

template <typename L, typename M>
__global__ void forward_kernel(Forward<L, M> f) {
  using Key = LogitsMath<L>;
  extern __shared__ double shared[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int count = f.layout.experts, topk = f.layout.topk;
  double* mine = shared + f.layout.bytes() / 8 * warp;
  M* row = reinterpret_cast<M*>(mine);
  double* keys = mine + count;
  M* values = reinterpret_cast<M*>(keys + count);
  double* group_scores = keys + count + topk;
  auto* chosen = reinterpret_cast<int32_t*>(group_scores + f.layout.groups);
  int32_t* best_groups = chosen + f.layout.chosen_room();
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < f.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    const L* logits = f.logits + t * count;
    for (int e = lane; e < count; e += kWarp) row[e] = static_cast<M>(wide(logits[e]));
    const bool by_logits = chooses_by_logits(f.rule);
    if (!by_logits) score_row(f.rule.score, row, count, lane);
    __syncwarp();
    if (f.forced != nullptr) {
      for (int k = lane; k < topk; k += kWarp) chosen[k] = f.forced[t * topk + k];
    } else if (by_logits) {
      Key* by = reinterpret_cast<Key*>(keys);
      for (int e = lane; e < count; e += kWarp) by[e] = choice_key(static_cast<Key>(wide(logits[e])));
      __syncwarp();
      if (f.rule.group_topk > 0)
        limit_to_groups(f.rule, by, count, lane, reinterpret_cast<Key*>(group_scores), best_groups,
                        std::is_same_v<L, bf16>);
      select_top(by, count, topk, lane, chosen);
    } else {
      M* by = reinterpret_cast<M*>(keys);
      for (int e = lane; e < count; e += kWarp)
        by[e] = choice_key(f.bias != nullptr ? row[e] + static_cast<M>(f.bias[e]) : row[e]);
      __syncwarp();
      if (f.rule.group_topk > 0)
        limit_to_groups(f.rule, by, count, lane, reinterpret_cast<M*>(group_scores), best_groups, false);
      select_top(by, count, topk, lane, chosen);
    }
    __syncwarp();
    for (int k = lane; k < topk; k += kWarp) values[k] = row[chosen[k]];
    __syncwarp();
    normalise_chosen(f.rule, values, lane);
    const M factor = f.rule.scaling_factor != 0 ? static_cast<M>(f.rule.scaling_factor) : M{1};
    for (int k = lane; k < topk; k += kWarp) {
      f.experts[t * topk + k] = chosen[k];
      f.probs[t * topk + k] = round_to_logits<L>(values[k] * factor);
    }
    __syncwarp();
  }
}

template <typename L, typename M>
struct Backward {
  RouterRule rule;
  const L* logits;
  const int32_t *experts, *kept;
  const LogitsMath<L>* dprobs;
  L* dlogits;
  int64_t tokens;
  int count, topk;
  bool add;
};

/// Shared memory of a row, in M: row [E], gradient [E], raw [K], scores [K], values [K], dprobs [K].
template <typename L, typename M>
__global__ void backward_kernel(Backward<L, M> b) {
  extern __shared__ double shared[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int count = b.count, topk = b.topk;
  M* row = reinterpret_cast<M*>(shared) + static_cast<size_t>(warp) * (2 * count + 4 * topk);
  M *gradient = row + count, *raw = gradient + count, *scores = raw + topk, *values = scores + topk;
  M* dprobs = values + topk;
  const M factor = b.rule.scaling_factor != 0 ? static_cast<M>(b.rule.scaling_factor) : M{1};
  const bool by_logits = chooses_by_logits(b.rule);
  const bool whole = b.rule.score == ScoreFunction::kSoftmax && b.rule.pre_softmax;
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < b.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    const L* logits = b.logits + t * count;
    const int32_t* experts = b.experts + t * topk;
    for (int k = lane; k < topk; k += kWarp) {
      const bool dropped = b.kept != nullptr && b.kept[t * topk + k] < 0;
      dprobs[k] = dropped ? M{0} : static_cast<M>(b.dprobs[t * topk + k]) * factor;
      raw[k] = static_cast<M>(wide(logits[experts[k]]));
      scores[k] = values[k] = raw[k];
    }
    for (int e = lane; e < count; e += kWarp) gradient[e] = 0;
    M dot = 0;
    if (whole) {
      for (int e = lane; e < count; e += kWarp) row[e] = static_cast<M>(wide(logits[e]));
      softmax_row(row, count, lane);
      __syncwarp();
      for (int k = lane; k < topk; k += kWarp) dot += row[experts[k]] * dprobs[k];
      dot = sum_lanes(dot);
      // The owner of an expert adds what it gets, so the order is that of the choices.
      for (int k = 0; k < topk; ++k)
        if (experts[k] % kWarp == lane) gradient[experts[k]] += dprobs[k];
      for (int e = lane; e < count; e += kWarp) gradient[e] = row[e] * (gradient[e] - dot);
    } else {
      if (!by_logits) score_row(b.rule.score, values, topk, lane);
      for (int k = lane; k < topk; k += kWarp) scores[k] = values[k];
      const M divisor = normalise_chosen(b.rule, values, lane);
      if (by_logits || divides_by_sum(b.rule)) {
        for (int k = lane; k < topk; k += kWarp) dot += values[k] * dprobs[k];
        dot = sum_lanes(dot);
      }
      __syncwarp();
      for (int k = lane; k < topk; k += kWarp) {
        const M centred = dprobs[k] - dot;
        gradient[experts[k]] =
            by_logits ? values[k] * centred : centred / divisor * score_slope(b.rule.score, raw[k], scores[k]);
      }
    }
    __syncwarp();
    for (int e = lane; e < count; e += kWarp) store_gradient(b.dlogits + t * count + e, gradient[e], b.add);
    __syncwarp();
  }
}

}  // namespace

void router_topk(const Stream& stream, const RouterTopkArgs& args) {
  const int64_t tokens = args.logits.size(0);
  if (tokens == 0) return;
  check_experts("router_topk", args.logits.size(1));
  const Layout layout{static_cast<int>(args.logits.size(1)), static_cast<int>(args.rule.topk),
                      args.rule.group_topk > 0 ? static_cast<int>(args.rule.groups) : 0};
  const size_t shared = layout.bytes() * kRouterWarps;
  with_logits(args.logits.dtype(), args.rule.f64_scores, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    allow_shared(forward_kernel<L, M>, shared);
    forward_kernel<L, M><<<grid_for(tokens, kRouterWarps), kRouterWarps * kWarp, shared, cuda_stream(stream)>>>(
        {args.rule, pointer<const L>(args.logits), pointer<const float>(args.bias), pointer<const int32_t>(args.forced),
         pointer<int32_t>(args.experts), pointer<LogitsMath<L>>(args.probs), tokens, layout});
  });
  check_launch("router_topk");
}

void router_topk_backward(const Stream& stream, const RouterTopkBackwardArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  if (tokens == 0) return;
  check_experts("router_topk_backward", experts);
  with_logits(args.logits.dtype(), args.rule.f64_scores, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    const size_t shared = sizeof(M) * kRouterWarps * static_cast<size_t>(2 * experts + 4 * args.rule.topk);
    allow_shared(backward_kernel<L, M>, shared);
    backward_kernel<L, M><<<grid_for(tokens, kRouterWarps), kRouterWarps * kWarp, shared, cuda_stream(stream)>>>(
        {args.rule, pointer<const L>(args.logits), pointer<const int32_t>(args.experts),
         pointer<const int32_t>(args.kept), pointer<const LogitsMath<L>>(args.dprobs), pointer<L>(args.dlogits), tokens,
         static_cast<int>(experts), static_cast<int>(args.rule.topk), args.accumulate == Accumulate::kAdd});
  });
  check_launch("router_topk_backward");
}

}  // namespace conclave::kernels::cuda
