#include "kernels/router_z_loss.h"

#include "kernels/cuda/router_rows.cuh"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = kRouterWarps * kWarp;

struct Rows {
  const uint8_t* padding;
  const double* mean_over;
  int64_t tokens;
  int experts;
};

/// Valid rows, at least 1. All threads of the block call.
__device__ double divisor_of(const Rows& rows, double* room) {
  if (rows.mean_over != nullptr) return fmax(*rows.mean_over, 1.0);
  if (rows.padding == nullptr) return fmax(static_cast<double>(rows.tokens), 1.0);
  double valid = 0;
  for (int64_t t = threadIdx.x; t < rows.tokens; t += blockDim.x) valid += rows.padding[t] == 0 ? 1 : 0;
  return fmax(sum_block(valid, room), 1.0);
}

/// logsumexp of a row in the logits' precision, for bf16 with every step rounded; `row` is left as loaded.
template <typename L>
__device__ LogitsMath<L> log_sum_exp(const L* logits, int count, int lane, LogitsMath<L>* row) {
  using M = LogitsMath<L>;
  for (int e = lane; e < count; e += kWarp) row[e] = static_cast<M>(wide(logits[e]));
  const M top = largest_of_row(row, count, lane);
  M sum = 0;
  for (int e = lane; e < count; e += kWarp) {
    if constexpr (std::is_same_v<L, bf16>) {
      sum += round_to_logits<L>(exp_of(round_to_logits<L>(row[e] - top)));
    } else {
      sum += exp_of(row[e] - top);
    }
  }
  sum = sum_lanes(sum);
  if constexpr (std::is_same_v<L, bf16>)
    return round_to_logits<L>(round_to_logits<L>(log_of(round_to_logits<L>(sum))) + top);
  return top + log_of(sum);
}

template <typename L>
__device__ double rounded(double value) {
  return static_cast<double>(round_to_logits<L>(static_cast<LogitsMath<L>>(value)));
}

template <typename L>
__global__ void sums_kernel(const L* logits, Rows rows, double* partial) {
  extern __shared__ double shared[];
  __shared__ double warp_sums[kRouterWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  auto* row = reinterpret_cast<LogitsMath<L>*>(shared) + static_cast<size_t>(warp) * rows.experts;
  double sum = 0;
  const int64_t end = (blockIdx.x + int64_t{1}) * rows.tokens / gridDim.x;
  for (int64_t t = blockIdx.x * rows.tokens / gridDim.x + warp; t < end; t += kRouterWarps) {
    if (rows.padding != nullptr && rows.padding[t] != 0) continue;
    const LogitsMath<L> lse = log_sum_exp(logits + t * rows.experts, rows.experts, lane, row);
    sum += static_cast<double>(round_to_logits<L>(lse * lse));
  }
  if (lane == 0) warp_sums[warp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double total = 0;
  for (int w = 0; w < kRouterWarps; ++w) total += warp_sums[w];
  partial[blockIdx.x] = total;
}

template <typename L>
__global__ void loss_kernel(Rows rows, const double* partial, int blocks, double coefficient, double* loss,
                            double* logged) {
  __shared__ double room[kThreads / kWarp];
  const double divisor = divisor_of(rows, room);
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int block = 0; block < blocks; ++block) sum += partial[block];
  if (rows.padding != nullptr) sum = rounded<L>(sum);
  const double value = rounded<L>(rounded<L>(sum / divisor) * coefficient);
  if (loss != nullptr) *loss = value;
  if (logged != nullptr) *logged += rounded<L>(value / coefficient);
}

template <typename L>
__global__ void backward_kernel(const L* logits, Rows rows, double twice, L* dlogits) {
  using M = LogitsMath<L>;
  extern __shared__ double shared[];
  __shared__ double room[kThreads / kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  M* row = reinterpret_cast<M*>(shared) + static_cast<size_t>(warp) * rows.experts;
  const M scale = static_cast<M>(twice / divisor_of(rows, room));
  for (int64_t t = int64_t{blockIdx.x} * kRouterWarps + warp; t < rows.tokens; t += int64_t{gridDim.x} * kRouterWarps) {
    if (rows.padding != nullptr && rows.padding[t] != 0) continue;
    const M lse = log_sum_exp(logits + t * rows.experts, rows.experts, lane, row);
    for (int e = lane; e < rows.experts; e += kWarp) {
      // The softmax is e^(x - lse): with a rounded lse its rows do not quite add up to 1.
      M value;
      if constexpr (std::is_same_v<L, bf16>) {
        value = round_to_logits<L>(exp_of(round_to_logits<L>(row[e] - lse)));
      } else {
        value = exp_of(row[e] - lse);
      }
      store_gradient(dlogits + t * rows.experts + e, scale * lse * value, true);
    }
  }
}

template <typename Args>
Rows rows_of(const Args& args) {
  return {pointer<const uint8_t>(args.padding), pointer<const double>(args.mean_over), args.logits.size(0),
          static_cast<int>(args.logits.size(1))};
}

template <typename Body>
void with_own_precision(DType logits, Body body) {
  with_logits(logits, false, [&](auto element, auto) { body(element); });
}

}  // namespace

void z_loss(const Stream& stream, const ZLossArgs& args) {
  const Rows rows = rows_of(args);
  check_experts("z_loss", rows.experts);
  double* partial = pointer<double>(args.workspace);
  const auto blocks = static_cast<unsigned>(args.workspace.size(0));
  with_own_precision(args.logits.dtype(), [&](auto element) {
    using L = decltype(element);
    const size_t shared = sizeof(LogitsMath<L>) * kRouterWarps * static_cast<size_t>(rows.experts);
    allow_shared(sums_kernel<L>, shared);
    sums_kernel<L><<<blocks, kThreads, shared, cuda_stream(stream)>>>(pointer<const L>(args.logits), rows, partial);
    loss_kernel<L><<<1, kThreads, 0, cuda_stream(stream)>>>(rows, partial, static_cast<int>(blocks), args.coefficient,
                                                            pointer<double>(args.loss), pointer<double>(args.logged));
  });
  check_launch("z_loss");
}

void z_loss_backward(const Stream& stream, const ZLossBackwardArgs& args) {
  const Rows rows = rows_of(args);
  if (rows.tokens == 0) return;
  check_experts("z_loss_backward", rows.experts);
  with_own_precision(args.logits.dtype(), [&](auto element) {
    using L = decltype(element);
    const size_t shared = sizeof(LogitsMath<L>) * kRouterWarps * static_cast<size_t>(rows.experts);
    allow_shared(backward_kernel<L>, shared);
    backward_kernel<L><<<grid_for(rows.tokens, kRouterWarps), kThreads, shared, cuda_stream(stream)>>>(
        pointer<const L>(args.logits), rows, 2 * args.gradient_scale * args.coefficient, pointer<L>(args.dlogits));
  });
  check_launch("z_loss_backward");
}

}  // namespace conclave::kernels::cuda
