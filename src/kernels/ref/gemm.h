// Scalar truth of a dense product.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

struct GemmSizes {
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false;
};

/// c [m,n] (+)= op(a) [m,k] · op(b) [k,n] + bias [n] (null: none).
template <typename T>
void gemm(const GemmSizes& sizes, const T* a, const T* b, const T* bias, T* c) {
  for (int64_t i = 0; i < sizes.m; ++i) {
    for (int64_t j = 0; j < sizes.n; ++j) {
      T sum = 0;
      for (int64_t p = 0; p < sizes.k; ++p) {
        const T left = sizes.transpose_a ? a[p * sizes.m + i] : a[i * sizes.k + p];
        const T right = sizes.transpose_b ? b[j * sizes.k + p] : b[p * sizes.n + j];
        sum += left * right;
      }
      if (bias != nullptr) sum += bias[j];
      c[i * sizes.n + j] = sizes.accumulate ? c[i * sizes.n + j] + sum : sum;
    }
  }
}

}  // namespace conclave::kernels::ref
