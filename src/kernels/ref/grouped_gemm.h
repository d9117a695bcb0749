// Scalar truth of the grouped products: one dense product per expert.
#pragma once

#include "kernels/ref/gemm.h"

namespace conclave::kernels::ref {

struct GroupSizes {
  int64_t experts = 0, n = 0, k = 0;
  const int64_t* offsets = nullptr;  ///< [experts + 1]
};

template <typename T>
void grouped_forward(const GroupSizes& s, const T* x, const T* weight, const T* bias, T* y) {
  for (int64_t e = 0; e < s.experts; ++e) {
    const int64_t begin = s.offsets[e], rows = s.offsets[e + 1] - begin;
    gemm<T>({rows, s.n, s.k, false, true, false}, x + begin * s.k, weight + e * s.n * s.k,
            bias == nullptr ? nullptr : bias + e * s.n, y + begin * s.n);
  }
}

template <typename T>
void grouped_input_gradient(const GroupSizes& s, const T* dy, const T* weight, T* dx) {
  for (int64_t e = 0; e < s.experts; ++e) {
    const int64_t begin = s.offsets[e], rows = s.offsets[e + 1] - begin;
    gemm<T>({rows, s.k, s.n, false, false, false}, dy + begin * s.n, weight + e * s.n * s.k, nullptr, dx + begin * s.k);
  }
}

template <typename T>
void grouped_weight_gradient(const GroupSizes& s, const T* dy, const T* x, T* dweight, T* dbias) {
  for (int64_t e = 0; e < s.experts; ++e) {
    const int64_t begin = s.offsets[e], rows = s.offsets[e + 1] - begin;
    gemm<T>({s.n, s.k, rows, true, false, true}, dy + begin * s.n, x + begin * s.k, nullptr, dweight + e * s.n * s.k);
    for (int64_t r = begin; dbias != nullptr && r < begin + rows; ++r)
      for (int64_t j = 0; j < s.n; ++j) dbias[e * s.n + j] += dy[r * s.n + j];
  }
}

}  // namespace conclave::kernels::ref
