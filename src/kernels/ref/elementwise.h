// Scalar truth of the elementwise ops.
#pragma once

#include <cmath>
#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
void scale(const T* x, int64_t count, T factor, bool accumulate, T* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = accumulate ? y[i] + factor * x[i] : factor * x[i];
}

template <typename T>
void column_sum(const T* x, int64_t rows, int64_t columns, T* out) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < columns; ++j) out[j] += x[r * columns + j];
}

template <typename T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <typename T>
void row_gate_forward(const T* value, const T* gate, int64_t rows, int64_t width, T* y) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; ++j) y[r * width + j] = value[r * width + j] * sigmoid(gate[r]);
}

template <typename T>
struct RowGateGradients {
  T* dvalue;
  T* dgate;
};
template <typename T>
void row_gate_backward(const T* dy, const T* value, const T* gate, int64_t rows, int64_t width,
                       RowGateGradients<T> out) {
  for (int64_t r = 0; r < rows; ++r) {
    const T s = sigmoid(gate[r]);
    T dot = 0;
    for (int64_t j = 0; j < width; ++j) {
      out.dvalue[r * width + j] = dy[r * width + j] * s;
      dot += dy[r * width + j] * value[r * width + j];
    }
    out.dgate[r] = dot * s * (1 - s);
  }
}

template <typename T>
T abs_max(const T* x, int64_t count) {
  T most = 0;
  for (int64_t i = 0; i < count; ++i) most = std::fabs(x[i]) > most || std::isnan(x[i]) ? std::fabs(x[i]) : most;
  return most;
}

template <typename T>
int64_t count_nonfinite(const T* x, int64_t count) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) found += std::isfinite(x[i]) ? 0 : 1;
  return found;
}

}  // namespace conclave::kernels::ref
