// RMSNorm and LayerNorm, as the formulas stand.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/norm.h"

namespace conclave::kernels::ref {

template <typename T>
struct NormForward {
  NormKind kind = NormKind::kRms;
  int64_t rows = 0, width = 0;
  const T* x = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;  ///< optional
  T* y = nullptr;
  T* mean = nullptr;  ///< optional
  T* rstd = nullptr;  ///< optional
  T epsilon = 0;
  T weight_offset = 0;
};

template <typename T>
void norm_forward(const NormForward<T>& n) {
  const T width = static_cast<T>(n.width);
  for (int64_t r = 0; r < n.rows; ++r) {
    const T* x = n.x + r * n.width;
    T mean = 0, square = 0;
    if (n.kind == NormKind::kLayer) {
      for (int64_t j = 0; j < n.width; ++j) mean += x[j] / width;
    }
    for (int64_t j = 0; j < n.width; ++j) square += (x[j] - mean) * (x[j] - mean) / width;
    const T rstd = 1 / std::sqrt(square + n.epsilon);
    for (int64_t j = 0; j < n.width; ++j) {
      n.y[r * n.width + j] =
          (x[j] - mean) * rstd * (n.weight[j] + n.weight_offset) + (n.bias != nullptr ? n.bias[j] : T{0});
    }
    if (n.mean != nullptr) n.mean[r] = mean;
    if (n.rstd != nullptr) n.rstd[r] = rstd;
  }
}

template <typename T>
struct NormBackward {
  NormKind kind = NormKind::kRms;
  int64_t rows = 0, width = 0;
  const T* dy = nullptr;
  const T* x = nullptr;
  const T* weight = nullptr;
  const T* mean = nullptr;  ///< kLayer
  const T* rstd = nullptr;
  T* dx = nullptr;       ///< added to
  T* dweight = nullptr;  ///< added to; optional
  T* dbias = nullptr;    ///< added to; optional
  T weight_offset = 0;
};

template <typename T>
void norm_backward(const NormBackward<T>& n) {
  const T width = static_cast<T>(n.width);
  for (int64_t r = 0; r < n.rows; ++r) {
    const T* x = n.x + r * n.width;
    const T* dy = n.dy + r * n.width;
    const T mean = n.kind == NormKind::kLayer ? n.mean[r] : T{0};
    const T rstd = n.rstd[r];
    T mean_g = 0, mean_gx = 0;
    for (int64_t j = 0; j < n.width; ++j) {
      const T normal = (x[j] - mean) * rstd;
      const T g = dy[j] * (n.weight[j] + n.weight_offset);
      mean_g += g / width;
      mean_gx += g * normal / width;
      if (n.dweight != nullptr) n.dweight[j] += dy[j] * normal;
      if (n.dbias != nullptr) n.dbias[j] += dy[j];
    }
    if (n.kind == NormKind::kRms) mean_g = 0;
    for (int64_t j = 0; j < n.width; ++j) {
      const T g = dy[j] * (n.weight[j] + n.weight_offset);
      n.dx[r * n.width + j] += rstd * (g - mean_g - (x[j] - mean) * rstd * mean_gx);
    }
  }
}

}  // namespace conclave::kernels::ref
