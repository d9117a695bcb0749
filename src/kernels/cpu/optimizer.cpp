#include <algorithm>
#include <cmath>

#include "kernels/cpu/pieces.h"
#include "kernels/optimizer_backend.h"

namespace conclave::kernels::cpu {
namespace {

float grad_scale_of(const Tensor& scale) { return scale.defined() ? *scale.data<float>() : 1.0f; }

struct AdamNumbers {
  float beta1, rest1, beta2, rest2, decay, rate, root, epsilon, grad_scale;
};

template <bool with_compute, bool clear>
void adamw_piece(const AdamArgs& args, const AdamNumbers& n, int64_t begin, int64_t end) {
  float* __restrict__ w = args.weight.data<float>();
  float* __restrict__ g = args.gradient.data<float>();
  float* __restrict__ m = args.exp_avg.data<float>();
  float* __restrict__ v = args.exp_avg_sq.data<float>();
  BF16* __restrict__ compute = with_compute ? args.compute.data<BF16>() : nullptr;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float gradient = g[i] * n.grad_scale;
    const float average = n.beta1 * m[i] + n.rest1 * gradient;
    const float square = n.beta2 * v[i] + n.rest2 * (gradient * gradient);
    const float weight = w[i] * n.decay - n.rate * average / (std::sqrt(square) * n.root + n.epsilon);
    m[i] = average;
    v[i] = square;
    w[i] = weight;
    if constexpr (with_compute) compute[i] = to_bf16(weight);
    if constexpr (clear) g[i] = 0;
  }
}

struct SgdNumbers {
  float rate, momentum, decay, grad_scale;
};

template <bool with_momentum>
void sgd_piece(const SgdArgs& args, const SgdNumbers& n, int64_t begin, int64_t end) {
  float* __restrict__ w = args.weight.data<float>();
  float* __restrict__ g = args.gradient.data<float>();
  float* __restrict__ m = with_momentum ? args.momentum_buffer.data<float>() : nullptr;
  const bool first = args.step == 1;
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    float step = g[i] * n.grad_scale + n.decay * w[i];
    if constexpr (with_momentum) {
      step = first ? step : n.momentum * m[i] + step;
      m[i] = step;
    }
    w[i] -= n.rate * step;
  }
  if (args.compute.defined()) {
    BF16* __restrict__ compute = args.compute.data<BF16>();
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) compute[i] = to_bf16(w[i]);
  }
  if (args.gradient_after == GradientAfter::kZero) std::fill(g + begin, g + end, 0.0f);
}

template <typename T>
double square_sum_block(const T* x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    const double value = static_cast<double>(to_float(x[i]));
    sum += value * value;
  }
  return sum;
}

template <typename T>
void square_sums(const SquareSumWork& work) {
  const T* x = work.x.data<T>();
  double* partials = work.partials.data<double>();
  const int64_t count = work.x.element_count(), blocks = work.partials.element_count();
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t block = 0; block < blocks; ++block)
    partials[block] = square_sum_block(x + block * kSumBlock, std::min(kSumBlock, count - block * kSumBlock));
  double sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partials[block];
  double* out = work.out.data<double>();
  *out = work.accumulate == Accumulate::kAdd ? *out + sum : sum;
}

template <typename T>
int64_t zeros(const Tensor& tensor) {
  const T* x = tensor.data<T>();
  const int64_t count = tensor.element_count();
  int64_t found = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : found) if (count > kPiece)
  for (int64_t i = 0; i < count; ++i) found += to_float(x[i]) == 0 ? 1 : 0;
  return found;
}

}  // namespace

void adamw(const Stream&, const AdamArgs& args) {
  const double step = static_cast<double>(args.step);
  const double correction1 = 1 - std::pow(args.beta1, step), correction2 = 1 - std::pow(args.beta2, step);
  const AdamNumbers numbers{.beta1 = static_cast<float>(args.beta1),
                            .rest1 = static_cast<float>(1 - args.beta1),
                            .beta2 = static_cast<float>(args.beta2),
                            .rest2 = static_cast<float>(1 - args.beta2),
                            .decay = static_cast<float>(1 - args.lr * args.weight_decay),
                            .rate = static_cast<float>(args.lr / correction1),
                            .root = static_cast<float>(1 / std::sqrt(correction2)),
                            .epsilon = static_cast<float>(args.epsilon),
                            .grad_scale = grad_scale_of(args.grad_scale)};
  const bool clear = args.gradient_after == GradientAfter::kZero;
  for_each_piece(args.weight.element_count(), [&](int64_t begin, int64_t end) {
    if (args.compute.defined()) {
      clear ? adamw_piece<true, true>(args, numbers, begin, end) : adamw_piece<true, false>(args, numbers, begin, end);
    } else {
      clear ? adamw_piece<false, true>(args, numbers, begin, end)
            : adamw_piece<false, false>(args, numbers, begin, end);
    }
  });
}

void sgd(const Stream&, const SgdArgs& args) {
  const SgdNumbers numbers{.rate = static_cast<float>(args.lr),
                           .momentum = static_cast<float>(args.momentum),
                           .decay = static_cast<float>(args.weight_decay),
                           .grad_scale = grad_scale_of(args.grad_scale)};
  for_each_piece(args.weight.element_count(), [&](int64_t begin, int64_t end) {
    args.momentum_buffer.defined() ? sgd_piece<true>(args, numbers, begin, end)
                                   : sgd_piece<false>(args, numbers, begin, end);
  });
}

void square_sum(const Stream&, const SquareSumWork& work) {
  work.x.dtype() == DType::kBF16 ? square_sums<BF16>(work) : square_sums<float>(work);
}

void clip_scale(const Stream&, const ClipScaleArgs& args) {
  const double norm = std::sqrt(*args.square_sum.data<double>());
  *args.norm.data<float>() = static_cast<float>(norm);
  const double scale = args.max_norm / (norm + 1e-6);
  *args.scale.data<float>() = args.max_norm <= 0 || scale > 1 ? 1.0f : static_cast<float>(scale);
}

void count_zeros(const Stream&, const CountZerosArgs& args) {
  const int64_t found = args.x.dtype() == DType::kBF16 ? zeros<BF16>(args.x) : zeros<float>(args.x);
  int64_t* out = args.out.data<int64_t>();
  *out = args.accumulate == Accumulate::kAdd ? *out + found : found;
}

}  // namespace conclave::kernels::cpu
