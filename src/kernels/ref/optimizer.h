// Scalar truth of the optimizer's arithmetic.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
struct Adam {
  T lr, beta1, beta2, epsilon, weight_decay, grad_scale;
  int64_t step;

  /// One element; w, m, v change.
  void update(T gradient, T& w, T& m, T& v) const {
    const T g = gradient * grad_scale;
    const T correction1 = 1 - std::pow(beta1, static_cast<T>(step));
    const T correction2 = 1 - std::pow(beta2, static_cast<T>(step));
    w *= 1 - lr * weight_decay;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    w -= lr * (m / correction1) / (std::sqrt(v / correction2) + epsilon);
  }
};

template <typename T>
struct Sgd {
  T lr, momentum, weight_decay, grad_scale;
  int64_t step;

  void update(T gradient, T& w, T& m) const {
    const T g = gradient * grad_scale + weight_decay * w;
    m = step == 1 ? g : momentum * m + g;
    w -= lr * m;
  }
};

template <typename T>
T square_sum(const T* x, int64_t count) {
  T sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  return sum;
}

template <typename T>
T clip_scale(T norm, T max_norm) {
  return max_norm <= 0 ? T(1) : std::min(T(1), max_norm / (norm + T(1e-6)));
}

template <typename T>
int64_t count_zeros(const T* x, int64_t count) {
  return std::count(x, x + count, T(0));
}

}  // namespace conclave::kernels::ref
