#include "kernels/router_sinkhorn.h"

#include <cooperative_groups.h>

#include "kernels/cuda/router_rows.cuh"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = kRouterWarps * kWarp;

/// cost [T,E] = e^logits and the two vectors of factors, in one block of memory.
template <typename M>
struct Matrix {
  M *cost, *d0, *d1, *partial;  ///< [T,E], [T], [E], [blocks, E]
  int64_t tokens;
  int experts;
};

template <typename L, typename M>
__global__ void fill_kernel(const L* logits, Matrix<M> m) {
  const int64_t count = m.tokens * m.experts, stride = int64_t{gridDim.x} * blockDim.x;
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (int64_t i = first; i < count; i += stride) m.cost[i] = exp_of(static_cast<M>(wide(logits[i])));
  for (int64_t e = first; e < m.experts; e += stride) m.d1[e] = 1;
}

/// All rounds in one launch; how many there are stands in the data. Block b has the bth of the blocks of rows; every
/// block makes the same new d1 from the same sums, so all agree on when to stop. Shared memory: d1 [E], sums of each
/// warp [warps, E].
template <typename M>
__global__ void balance_kernel(Matrix<M> m) {
  extern __shared__ double shared[];
  __shared__ double room[kThreads / kWarp];
  auto grid = cooperative_groups::this_grid();
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int experts = m.experts;
  M* d1 = reinterpret_cast<M*>(shared);
  M *sums = d1 + experts, *my_sums = sums + warp * experts;
  for (int e = threadIdx.x; e < experts; e += kThreads) d1[e] = 1;
  __syncthreads();
  const int64_t begin = blockIdx.x * m.tokens / kSinkhornBlocks, end = (blockIdx.x + 1) * m.tokens / kSinkhornBlocks;
  for (int64_t iteration = 0; iteration < kSinkhornIterations; ++iteration) {
    for (int e = lane; e < experts; e += kWarp) my_sums[e] = 0;
    for (int64_t t = begin + warp; t < end; t += kRouterWarps) {
      const M* cost = m.cost + t * experts;
      M sum = 0;
      for (int e = lane; e < experts; e += kWarp) sum += d1[e] * cost[e];
      const M d0 = M{1} / static_cast<M>(m.tokens) / (sum_lanes(sum) + M{1e-8});
      if (lane == 0) m.d0[t] = d0;
      for (int e = lane; e < experts; e += kWarp) my_sums[e] += d0 * cost[e];
    }
    __syncthreads();
    for (int e = threadIdx.x; e < experts; e += kThreads) {
      M sum = 0;
      for (int w = 0; w < kRouterWarps; ++w) sum += sums[w * experts + e];
      m.partial[blockIdx.x * int64_t{experts} + e] = sum;
    }
    grid.sync();
    double change = 0;
    for (int e = threadIdx.x; e < experts; e += kThreads) {
      M sum = 0;
      for (int64_t block = 0; block < kSinkhornBlocks; ++block) sum += m.partial[block * experts + e];
      const M next = M{1} / static_cast<M>(experts) / (sum + M{1e-8});
      change += fabs(static_cast<double>(next - d1[e]));
      d1[e] = next;
    }
    change = sum_block(change, room) / static_cast<double>(experts);
    grid.sync();
    if (!(change > 1e-4)) break;
  }
  if (blockIdx.x != 0) return;
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += kThreads) m.d1[e] = d1[e];
}

template <typename L, typename M>
struct Choice {
  const L* logits;
  int32_t* experts;
  LogitsMath<L>* probs;
  Matrix<M> matrix;  ///< cost null: choose by the activation
  int64_t tokens;
  int count, topk;
};

/// Shared memory of a row, in elements of 8 bytes: activation [E], scratch or keys [E], chosen [K].
template <typename L, typename M>
__global__ void choose_kernel(Choice<L, M> c) {
  using P = LogitsMath<L>;
  extern __shared__ double shared[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int count = c.count;
  double* mine = shared + static_cast<size_t>(warp) * (2 * count + c.topk);
  P* activation = reinterpret_cast<P*>(mine);
  M* scratch = reinterpret_cast<M*>(mine + count);
  auto* chosen = reinterpret_cast<int32_t*>(mine + 2 * count);
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < c.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    const L* logits = c.logits + t * count;
    if (c.topk == 1) {
      for (int e = lane; e < count; e += kWarp)
        activation[e] = round_to_logits<L>(sigmoid_value(static_cast<P>(wide(logits[e]))));
    } else {
      for (int e = lane; e < count; e += kWarp) scratch[e] = static_cast<M>(wide(logits[e]));
      softmax_row(scratch, count, lane);
      for (int e = lane; e < count; e += kWarp) activation[e] = round_to_logits<L>(scratch[e]);
    }
    __syncwarp();
    if (c.matrix.cost != nullptr) {
      for (int e = lane; e < count; e += kWarp)
        scratch[e] = choice_key(c.matrix.d1[e] * c.matrix.cost[t * count + e] * c.matrix.d0[t]);
      __syncwarp();
      select_top(scratch, count, c.topk, lane, chosen);
    } else {
      P* keys = reinterpret_cast<P*>(scratch);
      for (int e = lane; e < count; e += kWarp) keys[e] = choice_key(activation[e]);
      __syncwarp();
      select_top(keys, count, c.topk, lane, chosen);
    }
    for (int k = lane; k < c.topk; k += kWarp) {
      c.experts[t * c.topk + k] = chosen[k];
      c.probs[t * c.topk + k] = activation[chosen[k]];
    }
    __syncwarp();
  }
}

template <typename L, typename M>
struct Backward {
  const L* logits;
  const int32_t* experts;
  const LogitsMath<L>* dprobs;
  L* dlogits;
  int64_t tokens;
  int count, topk;
  bool add;
};

template <typename L, typename M>
__global__ void backward_kernel(Backward<L, M> b) {
  extern __shared__ double shared[];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int count = b.count;
  M* row = reinterpret_cast<M*>(shared) + static_cast<size_t>(warp) * 2 * count;
  M* dscores = row + count;
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < b.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    const int32_t* experts = b.experts + t * b.topk;
    for (int e = lane; e < count; e += kWarp) {
      dscores[e] = 0;
      row[e] = static_cast<M>(wide(b.logits[t * count + e]));
    }
    for (int k = 0; k < b.topk; ++k)
      if (experts[k] % kWarp == lane) dscores[experts[k]] += static_cast<M>(b.dprobs[t * b.topk + k]);
    if (b.topk == 1) {
      for (int e = lane; e < count; e += kWarp) {
        const M s = sigmoid_value(row[e]);
        row[e] = dscores[e] * s * (M{1} - s);
      }
    } else {
      softmax_row(row, count, lane);
      M dot = 0;
      for (int e = lane; e < count; e += kWarp) dot += row[e] * dscores[e];
      dot = sum_lanes(dot);
      for (int e = lane; e < count; e += kWarp) row[e] *= dscores[e] - dot;
    }
    for (int e = lane; e < count; e += kWarp) store_gradient(b.dlogits + t * count + e, row[e], b.add);
  }
}

template <typename L, typename M>
Matrix<M> balanced(const Stream& stream, const RouterSinkhornArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  M* cost = pointer<M>(args.workspace);
  Matrix<M> m{
      cost,   cost + tokens * experts,  cost + tokens * experts + tokens, cost + tokens * experts + tokens + experts,
      tokens, static_cast<int>(experts)};
  fill_kernel<<<grid_for(tokens * experts, 256), 256, 0, cuda_stream(stream)>>>(pointer<const L>(args.logits), m);
  const size_t shared = sizeof(M) * static_cast<size_t>(experts) * (1 + kRouterWarps);
  allow_shared(balance_kernel<M>, shared);
  void* arguments[] = {&m};
  CONCLAVE_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(balance_kernel<M>),
                                            dim3(static_cast<unsigned>(kSinkhornBlocks)), dim3(kThreads), arguments,
                                            shared, cuda_stream(stream)));
  return m;
}

}  // namespace

void router_sinkhorn(const Stream& stream, const RouterSinkhornArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  if (tokens == 0) return;
  check_experts("router_sinkhorn", experts);
  const size_t shared = sizeof(double) * kRouterWarps * static_cast<size_t>(2 * experts + args.topk);
  with_logits(args.logits.dtype(), args.f64_scores, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    const Matrix<M> matrix = args.balance ? balanced<L, M>(stream, args) : Matrix<M>{};
    allow_shared(choose_kernel<L, M>, shared);
    choose_kernel<L, M><<<grid_for(tokens, kRouterWarps), kThreads, shared, cuda_stream(stream)>>>(
        {pointer<const L>(args.logits), pointer<int32_t>(args.experts), pointer<LogitsMath<L>>(args.probs), matrix,
         tokens, static_cast<int>(experts), static_cast<int>(args.topk)});
  });
  check_launch("router_sinkhorn");
}

void router_sinkhorn_backward(const Stream& stream, const RouterSinkhornBackwardArgs& args) {
  const int64_t tokens = args.logits.size(0), experts = args.logits.size(1);
  if (tokens == 0) return;
  check_experts("router_sinkhorn_backward", experts);
  // The gradient of a sigmoid in the logits' precision is that precision's own.
  const bool f64 = args.f64_scores || (args.logits.dtype() == DType::kF64 && args.experts.size(1) == 1);
  with_logits(args.logits.dtype(), f64, [&](auto element, auto math) {
    using L = decltype(element);
    using M = decltype(math);
    const size_t shared = sizeof(M) * kRouterWarps * static_cast<size_t>(2 * experts);
    allow_shared(backward_kernel<L, M>, shared);
    backward_kernel<L, M><<<grid_for(tokens, kRouterWarps), kThreads, shared, cuda_stream(stream)>>>(
        {pointer<const L>(args.logits), pointer<const int32_t>(args.experts), pointer<const LogitsMath<L>>(args.dprobs),
         pointer<L>(args.dlogits), tokens, static_cast<int>(experts), static_cast<int>(args.experts.size(1)),
         args.accumulate == Accumulate::kAdd});
  });
  check_launch("router_sinkhorn_backward");
}

}  // namespace conclave::kernels::cuda
