#include <omp.h>

#include <algorithm>

#include "kernels/cpu/product.h"
#include "kernels/gemm_backend.h"

namespace conclave::kernels::cpu {
namespace {

MatmulSpec spec_of(const GemmCall& call) {
  return {.m = call.m,
          .n = call.n,
          .k = call.k,
          .dtype = call.a.dtype(),
          .c_dtype = call.c.dtype(),
          .transpose_a = call.transpose_a,
          .transpose_b = call.transpose_b,
          .lda = call.a.size(1),
          .ldb = call.b.size(1),
          .ldc = call.n,
          .accumulate = call.accumulate,
          .has_bias = call.bias.defined(),
          .bias_dtype = call.bias.defined() ? call.bias.dtype() : DType::kF32,
          .threads = omp_get_max_threads()};
}

bool needs_product(const GemmCall& call) {
  return call.m > 0 && call.n > 0 && call.k > 0 && call.a.dtype() != DType::kF64;
}

template <typename T>
T rounded(float value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return to_bf16(value);
  } else {
    return value;
  }
}

/// C of a sum without terms: what stood there or zero, plus the bias.
template <typename C, typename Bias>
void empty_sum(const GemmCall& call) {
  C* c = call.c.data<C>();
  const Bias* bias = call.bias.defined() ? call.bias.data<Bias>() : nullptr;
  for (int64_t i = 0; i < call.m * call.n; ++i) {
    const float before = call.accumulate == Accumulate::kAdd ? to_float(c[i]) : 0.0f;
    c[i] = rounded<C>(before + (bias != nullptr ? to_float(bias[i % call.n]) : 0.0f));
  }
}

/// Products in f64, for routers and checks: each row of C is summed in cache, in one order.
class DoubleGemm {
 public:
  explicit DoubleGemm(const GemmCall& call)
      : call_(call),
        a_(call.a.data<double>()),
        b_(call.b.data<double>()),
        bias_(call.bias.defined() ? call.bias.data<double>() : nullptr),
        c_(call.c.data<double>()) {}

  void run() const {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < call_.m; ++i) {
      double* c = c_ + i * call_.n;
      if (call_.accumulate == Accumulate::kOverwrite) std::fill(c, c + call_.n, 0.0);
      for (int64_t j = 0; bias_ != nullptr && j < call_.n; ++j) c[j] += bias_[j];
      if (call_.transpose_b == Transpose::kNo) {
        add_scaled_rows(i, c);
      } else {
        add_dot_products(i, c);
      }
    }
  }

 private:
  double a_at(int64_t i, int64_t p) const {
    return call_.transpose_a == Transpose::kYes ? a_[p * call_.m + i] : a_[i * call_.k + p];
  }

  void add_scaled_rows(int64_t i, double* c) const {
    for (int64_t p = 0; p < call_.k; ++p) {
      const double left = a_at(i, p);
      const double* b = b_ + p * call_.n;
#pragma omp simd
      for (int64_t j = 0; j < call_.n; ++j) c[j] += left * b[j];
    }
  }

  void add_dot_products(int64_t i, double* c) const {
    const bool turned = call_.transpose_a == Transpose::kYes;
    const double* a = turned ? a_ + i : a_ + i * call_.k;
    const int64_t step = turned ? call_.m : 1;
    for (int64_t j = 0; j < call_.n; ++j) {
      const double* b = b_ + j * call_.k;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t p = 0; p < call_.k; ++p) sum += a[p * step] * b[p];
      c[j] += sum;
    }
  }

  const GemmCall& call_;
  const double* a_;
  const double* b_;
  const double* bias_;
  double* c_;
};

}  // namespace

int64_t gemm_scratch_bytes(const GemmCall& call) {
  return needs_product(call) ? product_scratch_bytes(spec_of(call)) : 0;
}

void gemm(const Stream&, const GemmCall& call) {
  if (call.a.dtype() == DType::kF64) return DoubleGemm(call).run();
  if (!needs_product(call)) {
    if (call.a.dtype() == DType::kF32) return empty_sum<float, float>(call);
    return call.c.dtype() == DType::kF32 ? empty_sum<float, BF16>(call) : empty_sum<BF16, BF16>(call);
  }
  run_product(spec_of(call), {.a = call.a.raw(),
                              .b = call.b.raw(),
                              .bias = call.bias.defined() ? call.bias.raw() : nullptr,
                              .c = call.c.raw(),
                              .scratch = call.workspace.raw()});
}

}  // namespace conclave::kernels::cpu
