// Activations and their slopes, one element at a time.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/activation_backend.h"

namespace conclave::kernels::ref {

template <typename T>
struct ValueAndSlope {
  T value, slope;
};

template <typename T>
ValueAndSlope<T> sigmoid_gate(T x, T steepness) {
  const T s = 1 / (1 + std::exp(-steepness * x));
  return {x * s, s + steepness * x * s * (1 - s)};
}

/// Of a plain kind.
template <typename T>
ValueAndSlope<T> activation(ActivationKind kind, T x) {
  constexpr T kPi = static_cast<T>(3.14159265358979323846);
  switch (kind) {
    case ActivationKind::kGelu: {
      const T cumulative = std::erfc(-x / std::sqrt(T{2})) / 2;
      return {x * cumulative, cumulative + x * std::exp(-x * x / 2) / std::sqrt(2 * kPi)};
    }
    case ActivationKind::kGeluTanh: {
      // (1 + tanh u) / 2 = σ(2u).
      const T twice = 2 * std::sqrt(2 / kPi), cubic = static_cast<T>(0.044715);
      const T e = std::exp(-twice * (x + cubic * x * x * x)), s = 1 / (1 + e);
      const T slope_of_s = x < -30 ? 0 : s * s * e * twice * (1 + 3 * cubic * x * x);
      return {x * s, s + x * slope_of_s};
    }
    case ActivationKind::kQuickGelu:
      return sigmoid_gate(x, static_cast<T>(1.702));
    case ActivationKind::kSilu:
      return sigmoid_gate(x, T{1});
    case ActivationKind::kRelu:
      return {x > 0 ? x : 0, x > 0 ? T{1} : T{0}};
    case ActivationKind::kSquaredRelu:
      return {x > 0 ? x * x : 0, x > 0 ? 2 * x : 0};
    default:
      throw_internal(__FILE__, __LINE__, "plain kind", "a gated kind has no value of one number");
  }
}

template <typename T>
struct Activation {
  ActivationKind kind = ActivationKind::kSwiGlu;
  int64_t rows = 0, width = 0;  ///< F
  const T* x = nullptr;
  const T* row_weight = nullptr;  ///< optional
  T clamp = 0, linear_offset = 0;
  T* y = nullptr;            ///< forward
  const T* dy = nullptr;     ///< backward
  T* dx = nullptr;           ///< backward
  T* drow_weight = nullptr;  ///< backward, optional
};

/// One element: activation of its (clamped) gate, and its linear factor, with the slopes of the clamps.
template <typename T>
struct ActivationParts {
  ValueAndSlope<T> gate, linear;
};
template <typename T>
ActivationParts<T> activation_parts(const Activation<T>& a, int64_t row, int64_t j) {
  const bool gated = is_gated(a.kind), clamped = a.clamp > 0;
  const T* x = a.x + row * a.width * (gated ? 2 : 1);
  ActivationParts<T> parts;
  parts.gate = activation(activation_inside(a.kind), clamped && x[j] > a.clamp ? a.clamp : x[j]);
  if (clamped && x[j] > a.clamp) parts.gate.slope = 0;
  if (!gated) {
    parts.linear = {1, 0};
    return parts;
  }
  const T linear = x[a.width + j];
  if (clamped && std::abs(linear) > a.clamp) {
    parts.linear = {(linear > 0 ? a.clamp : -a.clamp) + a.linear_offset, 0};
  } else {
    parts.linear = {linear + a.linear_offset, 1};
  }
  return parts;
}

template <typename T>
void activation_forward(const Activation<T>& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const T weight = a.row_weight != nullptr ? a.row_weight[row] : T{1};
    for (int64_t j = 0; j < a.width; ++j) {
      const ActivationParts<T> parts = activation_parts(a, row, j);
      a.y[row * a.width + j] = parts.gate.value * parts.linear.value * weight;
    }
  }
}

template <typename T>
void activation_backward(const Activation<T>& a) {
  for (int64_t row = 0; row < a.rows; ++row) {
    const T weight = a.row_weight != nullptr ? a.row_weight[row] : T{1};
    T* dx = a.dx + row * a.width * (is_gated(a.kind) ? 2 : 1);
    T sum = 0;
    for (int64_t j = 0; j < a.width; ++j) {
      const T dy = a.dy[row * a.width + j];
      const ActivationParts<T> parts = activation_parts(a, row, j);
      sum += dy * parts.gate.value * parts.linear.value;
      dx[j] = dy * weight * parts.linear.value * parts.gate.slope;
      if (is_gated(a.kind)) dx[a.width + j] = dy * weight * parts.gate.value * parts.linear.slope;
    }
    if (a.drow_weight != nullptr) a.drow_weight[row] = sum;
  }
}

}  // namespace conclave::kernels::ref
