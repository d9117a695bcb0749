#include "kernels/router_balance.h"

#include "kernels/cuda/router_rows.cuh"

namespace conclave::kernels::cuda {
namespace {

template <typename L, typename M>
struct Scores {
  const L* logits;
  const uint8_t* padding;
  M* scores;
  uint8_t* map;
  double* partial;  ///< [blocks, 2, B, E]
  ScoreFunction score;
  int64_t length, batch, blocks;
  int experts, topk;
};

/// Warps of a block of scores_kernel, by what a warp holds.
int score_warps(size_t bytes) { return static_cast<int>(std::clamp<size_t>((size_t{192} << 10) / bytes, 1, 16)); }

/// A block per (block of rows, sequence); its warps take rows in turn. Shared memory, in elements of 8 bytes: of each
/// warp sums [E], counts [E], row [E], chosen [K].
template <typename L, typename M>
__global__ void scores_kernel(Scores<L, M> s) {
  extern __shared__ double shared[];
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int experts = s.experts, room = 3 * experts + s.topk;
  double *sums = shared + warp * room, *counts = sums + experts;
  M* row = reinterpret_cast<M*>(counts + experts);
  auto* chosen = reinterpret_cast<int32_t*>(counts + 2 * experts);
  const int64_t block = blockIdx.x / s.batch, b = blockIdx.x % s.batch;
  for (int e = lane; e < experts; e += kWarp) sums[e] = counts[e] = 0;
  const int64_t end = (block + 1) * s.length / s.blocks;
  for (int64_t i = block * s.length / s.blocks + warp; i < end; i += warps) {
    const int64_t t = i * s.batch + b;
    const bool padding = s.padding != nullptr && s.padding[t] != 0;
    for (int e = lane; e < experts; e += kWarp) {
      row[e] = padding ? M{0} : static_cast<M>(wide(s.logits[t * experts + e]));
      if (s.map != nullptr) s.map[t * experts + e] = 0;
    }
    if (!padding) balance_row(s.score, row, experts, lane);
    for (int e = lane; e < experts; e += kWarp) {
      if (s.scores != nullptr) s.scores[t * experts + e] = row[e];
      sums[e] += static_cast<double>(row[e]);
      row[e] = choice_key(row[e]);
    }
    if (padding) continue;
    __syncwarp();
    select_top(row, experts, s.topk, lane, chosen);
    for (int k = 0; k < s.topk; ++k) {
      if (chosen[k] % kWarp != lane) continue;
      counts[chosen[k]] += 1;
      if (s.map != nullptr) s.map[t * experts + chosen[k]] = 1;
    }
    __syncwarp();
  }
  __syncthreads();
  const int64_t width = s.batch * experts;
  double* out = s.partial + 2 * block * width + b * experts;
  for (int e = threadIdx.x; e < experts; e += static_cast<int>(blockDim.x)) {
    double sum = 0, count = 0;
    for (int w = 0; w < warps; ++w) {
      sum += shared[w * room + e];
      count += shared[w * room + experts + e];
    }
    out[e] = sum;
    out[width + e] = count;
  }
}

constexpr int kLossThreads = 256;

struct Loss {
  BalanceKind kind;
  double topk, coefficient, gradient_scale;
  const float *counts, *running;
  const double* sums;
  float running_steps;
  double *slope, *loss, *logged;
  int64_t batch, experts;
};

__device__ double count_of(const Loss& l, int64_t b, int64_t e) {
  if (l.kind == BalanceKind::kGlobal) return static_cast<double>(l.running[e] / l.running_steps);
  if (l.kind == BalanceKind::kSequence) return static_cast<double>(l.counts[b * l.experts + e]);
  double whole = 0;
  for (int64_t i = 0; i < l.batch; ++i) whole += static_cast<double>(l.counts[i * l.experts + e]);
  return whole;
}

__global__ void loss_kernel(Loss l) {
  __shared__ double room[kLossThreads / kWarp];
  const int64_t width = l.batch * l.experts;
  double choices = 0;
  for (int64_t i = threadIdx.x; i < width; i += kLossThreads) choices += static_cast<double>(l.counts[i]);
  const double tokens = sum_block(choices, room) / l.topk;
  const bool by_sequence = l.kind == BalanceKind::kSequence;
  const double length = by_sequence ? tokens / static_cast<double>(l.batch) : tokens;
  double factor = 0;
  if (tokens > 0)
    factor = static_cast<double>(l.experts) / (l.topk * length * length) /
             (by_sequence ? static_cast<double>(l.batch) : 1.0);
  const double scale = l.gradient_scale * l.coefficient * factor;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < width; i += kLossThreads) {
    const double count = count_of(l, i / l.experts, i % l.experts);
    sum += l.sums[i] * count;
    if (l.slope != nullptr) l.slope[i] += scale * count;
  }
  sum = sum_block(sum, room);
  if (threadIdx.x != 0) return;
  if (l.loss != nullptr) *l.loss = l.coefficient * (factor * sum);
  if (l.logged != nullptr) *l.logged += factor * sum;
}

template <typename L, typename M>
struct Gradient {
  const L* logits;
  const uint8_t* padding;
  const double* slope;
  L* dlogits;
  ScoreFunction score;
  int64_t tokens, batch;
  int experts;
};

template <typename L, typename M>
__global__ void gradient_kernel(Gradient<L, M> g) {
  extern __shared__ double shared[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int experts = g.experts;
  M* row = reinterpret_cast<M*>(shared) + static_cast<size_t>(warp) * experts;
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < g.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    if (g.padding != nullptr && g.padding[t] != 0) continue;
    const L* logits = g.logits + t * experts;
    const double* slopes = g.slope + t % g.batch * experts;
    for (int e = lane; e < experts; e += kWarp) row[e] = static_cast<M>(wide(logits[e]));
    const M divisor = balance_row(g.score, row, experts, lane);
    M dot = 0;
    for (int e = lane; e < experts; e += kWarp) dot += row[e] * static_cast<M>(slopes[e]);
    dot = sum_lanes(dot);
    for (int e = lane; e < experts; e += kWarp) {
      const M centred = static_cast<M>(slopes[e]) - dot;
      const M value = g.score == ScoreFunction::kSoftmax
                          ? row[e] * centred
                          : centred / divisor * score_slope(g.score, static_cast<M>(wide(logits[e])), row[e] * divisor);
      store_gradient(g.dlogits + t * experts + e, value, true);
    }
  }
}

__global__ void bias_update_kernel(const float* counts, float* bias, int64_t experts, float rate) {
  __shared__ double room[kLossThreads / kWarp];
  double sum = 0;
  for (int64_t e = threadIdx.x; e < experts; e += kLossThreads) sum += static_cast<double>(counts[e]);
  const double mean = sum_block(sum, room) / static_cast<double>(experts);
  for (int64_t e = threadIdx.x; e < experts; e += kLossThreads) {
    const double off = mean - static_cast<double>(counts[e]);
    bias[e] += rate * (off > 0 ? 1.0f : off < 0 ? -1.0f : 0.0f);
  }
}

}  // namespace

void balance_scores(const Stream& stream, const BalanceScoresArgs& args) {
  const int64_t experts = args.logits.size(1), blocks = args.workspace.size(0), width = args.batch * experts;
  check_experts("balance_scores", experts);
  double* partial = pointer<double>(args.workspace);
  const size_t of_warp = sizeof(double) * static_cast<size_t>(3 * experts + args.rule.topk);
  const int warps = score_warps(of_warp);
  const size_t shared = of_warp * static_cast<size_t>(warps);
  with_logits(args.logits.dtype(), args.rule.f64_scores, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    allow_shared(scores_kernel<L, M>, shared);
    scores_kernel<L, M><<<static_cast<unsigned>(blocks * args.batch), static_cast<unsigned>(warps * kWarp), shared,
                          cuda_stream(stream)>>>({pointer<const L>(args.logits), pointer<const uint8_t>(args.padding),
                                                  pointer<M>(args.scores), pointer<uint8_t>(args.map), partial,
                                                  args.rule.score, args.logits.size(0) / args.batch, args.batch, blocks,
                                                  static_cast<int>(experts), static_cast<int>(args.rule.topk)});
  });
  check_launch("balance_scores");
  double* score_sums = pointer<double>(args.score_sums);
  float* counts = pointer<float>(args.counts);
  for_each(stream, "balance_scores", width, [=] __device__(auto i) {
    double sum = 0, count = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      sum += partial[2 * block * width + i];
      count += partial[(2 * block + 1) * width + i];
    }
    score_sums[i] = sum;
    counts[i] = static_cast<float>(count);
  });
}

void running_counts(const Stream& stream, const RunningCountsArgs& args) {
  const int64_t batch = args.counts.size(0), experts = args.counts.size(1);
  const float *counts = pointer<const float>(args.counts), *previous = pointer<const float>(args.previous);
  float* total = pointer<float>(args.total);
  for_each(stream, "running_counts", experts, [=] __device__(auto e) {
    double sum = previous != nullptr ? static_cast<double>(previous[e]) : 0.0;
    for (int64_t b = 0; b < batch; ++b) sum += static_cast<double>(counts[b * experts + e]);
    total[e] = static_cast<float>(sum);
  });
}

void balance_loss(const Stream& stream, const BalanceLossArgs& args) {
  loss_kernel<<<1, kLossThreads, 0, cuda_stream(stream)>>>(
      {args.kind, static_cast<double>(args.topk), args.coefficient, args.gradient_scale,
       pointer<const float>(args.counts), pointer<const float>(args.running), pointer<const double>(args.score_sums),
       static_cast<float>(args.running_steps), pointer<double>(args.slope), pointer<double>(args.loss),
       pointer<double>(args.logged), args.counts.size(0), args.counts.size(1)});
  check_launch("balance_loss");
}

void balance_backward(const Stream& stream, const BalanceBackwardArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  if (tokens == 0) return;
  check_experts("balance_backward", experts);
  with_logits(args.logits.dtype(), args.rule.f64_scores, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    const size_t shared = sizeof(M) * kRouterWarps * static_cast<size_t>(experts);
    allow_shared(gradient_kernel<L, M>, shared);
    gradient_kernel<L, M><<<grid_for(tokens, kRouterWarps), kRouterWarps * kWarp, shared, cuda_stream(stream)>>>(
        {pointer<const L>(args.logits), pointer<const uint8_t>(args.padding), pointer<const double>(args.slope),
         pointer<L>(args.dlogits), args.rule.score, tokens, args.batch, static_cast<int>(experts)});
  });
  check_launch("balance_backward");
}

void expert_bias_update(const Stream& stream, const ExpertBiasUpdateArgs& args) {
  bias_update_kernel<<<1, kLossThreads, 0, cuda_stream(stream)>>>(
      pointer<const float>(args.counts), pointer<float>(args.bias), args.counts.element_count(),
      static_cast<float>(args.rate));
  check_launch("expert_bias_update");
}

}  // namespace conclave::kernels::cuda
