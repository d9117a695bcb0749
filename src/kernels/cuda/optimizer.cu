#include <cmath>

#include "kernels/cuda/reduce.cuh"
#include "kernels/optimizer_backend.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 256;

struct Adam {
  float *weight, *gradient, *exp_avg, *exp_avg_sq;
  bf16* compute;
  const float* grad_scale;
  float beta1, rest1, beta2, rest2, decay, rate, root, epsilon;
  bool clear;
};

template <int V>
__device__ __forceinline__ void adam_step(const Adam& a, int64_t at, float grad_scale) {
  auto weight = load<V>(a.weight + at), average = load<V>(a.exp_avg + at), square = load<V>(a.exp_avg_sq + at);
  const auto gradient = load<V>(a.gradient + at);
  Pack<bf16, V> compute;
  for (int j = 0; j < V; ++j) {
    const float g = gradient.at[j] * grad_scale;
    average.at[j] = a.beta1 * average.at[j] + a.rest1 * g;
    square.at[j] = a.beta2 * square.at[j] + a.rest2 * (g * g);
    weight.at[j] = weight.at[j] * a.decay - a.rate * average.at[j] / (sqrtf(square.at[j]) * a.root + a.epsilon);
    compute.at[j] = __float2bfloat16_rn(weight.at[j]);
  }
  store(a.exp_avg + at, average);
  store(a.exp_avg_sq + at, square);
  store(a.weight + at, weight);
  if (a.compute != nullptr) store(a.compute + at, compute);
  if (a.clear) store(a.gradient + at, Pack<float, V>{});
}

template <int V>
void adamw_by(const Stream& stream, const Adam& a, int64_t count) {
  const int64_t whole = count / V;
  for_each(stream, "adamw", whole + count % V, [=] __device__(auto i) {
    const float grad_scale = a.grad_scale != nullptr ? *a.grad_scale : 1.0f;
    if (i < whole) {
      adam_step<V>(a, int64_t{i} * V, grad_scale);
    } else {
      adam_step<1>(a, whole * V + (i - whole), grad_scale);
    }
  });
}

template <typename T>
__global__ void square_sum_kernel(const T* x, int64_t count, double* partials) {
  __shared__ double room[kThreads / kWarp];
  const int64_t begin = int64_t{blockIdx.x} * kSumBlock, end = min(count, begin + kSumBlock);
  double sum = 0;
  if (reinterpret_cast<uintptr_t>(x) % 16 == 0 && end - begin == kSumBlock) {
    for (int64_t i = begin + threadIdx.x * kWide<T>; i < end; i += kThreads * kWide<T>) {
      const auto in = load<kWide<T>>(x + i);
      for (int j = 0; j < kWide<T>; ++j)
        sum += static_cast<double>(wide(in.at[j])) * static_cast<double>(wide(in.at[j]));
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
      const double value = wide(x[i]);
      sum += value * value;
    }
  }
  sum = sum_block(sum, room);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__global__ void add_sums_kernel(const double* partials, int64_t count, double* out, bool add) {
  __shared__ double room[1024 / kWarp];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += 1024) sum += partials[i];
  sum = sum_block(sum, room);
  if (threadIdx.x == 0) *out = add ? *out + sum : sum;
}

__global__ void clip_scale_kernel(const double* square_sum, double max_norm, float* norm, float* scale) {
  const double root = sqrt(*square_sum);
  *norm = static_cast<float>(root);
  const double factor = max_norm / (root + 1e-6);
  *scale = max_norm <= 0 || factor > 1 ? 1.0f : static_cast<float>(factor);
}

template <typename T>
__global__ void count_zeros_kernel(const T* x, int64_t count, unsigned long long* found) {
  __shared__ unsigned long long room[kThreads / kWarp];
  unsigned long long mine = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads)
    mine += wide(x[i]) == 0 ? 1 : 0;
  mine = sum_block(mine, room);
  if (threadIdx.x == 0 && mine > 0) atomicAdd(found, mine);
}

}  // namespace

void adamw(const Stream& stream, const AdamArgs& args) {
  const auto step = static_cast<double>(args.step);
  const double correction1 = 1 - std::pow(args.beta1, step), correction2 = 1 - std::pow(args.beta2, step);
  const Adam a{.weight = pointer<float>(args.weight),
               .gradient = pointer<float>(args.gradient),
               .exp_avg = pointer<float>(args.exp_avg),
               .exp_avg_sq = pointer<float>(args.exp_avg_sq),
               .compute = pointer<bf16>(args.compute),
               .grad_scale = pointer<const float>(args.grad_scale),
               .beta1 = static_cast<float>(args.beta1),
               .rest1 = static_cast<float>(1 - args.beta1),
               .beta2 = static_cast<float>(args.beta2),
               .rest2 = static_cast<float>(1 - args.beta2),
               .decay = static_cast<float>(1 - args.lr * args.weight_decay),
               .rate = static_cast<float>(args.lr / correction1),
               .root = static_cast<float>(1 / std::sqrt(correction2)),
               .epsilon = static_cast<float>(args.epsilon),
               .clear = args.gradient_after == GradientAfter::kZero};
  const bool fast = aligned(16, args.weight, args.gradient, args.exp_avg, args.exp_avg_sq) && aligned(8, args.compute);
  fast ? adamw_by<4>(stream, a, args.weight.element_count()) : adamw_by<1>(stream, a, args.weight.element_count());
}

void sgd(const Stream& stream, const SgdArgs& args) {
  float *w = pointer<float>(args.weight), *g = pointer<float>(args.gradient), *m = pointer<float>(args.momentum_buffer);
  bf16* compute = pointer<bf16>(args.compute);
  const float* grad_scale = pointer<const float>(args.grad_scale);
  const float rate = static_cast<float>(args.lr), momentum = static_cast<float>(args.momentum);
  const float decay = static_cast<float>(args.weight_decay);
  const bool first = args.step == 1, clear = args.gradient_after == GradientAfter::kZero;
  for_each(stream, "sgd", args.weight.element_count(), [=] __device__(auto i) {
    float step = g[i] * (grad_scale != nullptr ? *grad_scale : 1.0f) + decay * w[i];
    if (m != nullptr) {
      step = first ? step : momentum * m[i] + step;
      m[i] = step;
    }
    const float weight = w[i] - rate * step;
    w[i] = weight;
    if (compute != nullptr) compute[i] = __float2bfloat16_rn(weight);
    if (clear) g[i] = 0;
  });
}

void square_sum(const Stream& stream, const SquareSumWork& work) {
  const int64_t blocks = work.partials.element_count();
  double* partials = pointer<double>(work.partials);
  if (blocks > 0) {
    with_float(work.x.dtype(), [&](auto zero) {
      square_sum_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, cuda_stream(stream)>>>(
          pointer<const decltype(zero)>(work.x), work.x.element_count(), partials);
    });
    check_launch("square_sum");
  }
  add_sums_kernel<<<1, 1024, 0, cuda_stream(stream)>>>(partials, blocks, pointer<double>(work.out),
                                                       work.accumulate == Accumulate::kAdd);
  check_launch("square_sum");
}

void clip_scale(const Stream& stream, const ClipScaleArgs& args) {
  clip_scale_kernel<<<1, 1, 0, cuda_stream(stream)>>>(pointer<const double>(args.square_sum), args.max_norm,
                                                      pointer<float>(args.norm), pointer<float>(args.scale));
  check_launch("clip_scale");
}

void count_zeros(const Stream& stream, const CountZerosArgs& args) {
  const int64_t count = args.x.element_count();
  auto* found = reinterpret_cast<unsigned long long*>(args.out.data<int64_t>());
  if (args.accumulate == Accumulate::kOverwrite)
    CONCLAVE_CUDA(cudaMemsetAsync(found, 0, sizeof *found, cuda_stream(stream)));
  with_float(args.x.dtype(), [&](auto zero) {
    count_zeros_kernel<<<grid_for(count, kThreads), kThreads, 0, cuda_stream(stream)>>>(
        pointer<const decltype(zero)>(args.x), count, found);
  });
  check_launch("count_zeros");
}

}  // namespace conclave::kernels::cuda
