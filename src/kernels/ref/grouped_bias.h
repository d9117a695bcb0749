#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

/// y [P,N] += weight[p] * bias[e] [E,N]; weight null: 1.
template <typename T>
void grouped_bias_forward(T* y, const T* bias, const T* weight, const int64_t* offsets, int64_t experts,
                          int64_t width) {
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t p = offsets[e]; p < offsets[e + 1]; ++p) {
      for (int64_t j = 0; j < width; ++j)
        y[p * width + j] += (weight != nullptr ? weight[p] : T(1)) * bias[e * width + j];
    }
  }
}

/// dbias [E,N] += weight[p] * dy[p]; dweight [P] += dy[p] · bias[e].
template <typename T>
void grouped_bias_backward(const T* dy, const T* bias, const T* weight, const int64_t* offsets, T* dbias, T* dweight,
                           int64_t experts, int64_t width) {
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t p = offsets[e]; p < offsets[e + 1]; ++p) {
      for (int64_t j = 0; j < width; ++j) {
        dbias[e * width + j] += (weight != nullptr ? weight[p] : T(1)) * dy[p * width + j];
        if (weight != nullptr) dweight[p] += dy[p * width + j] * bias[e * width + j];
      }
    }
  }
}

}  // namespace conclave::kernels::ref
