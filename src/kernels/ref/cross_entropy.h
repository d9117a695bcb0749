// Scalar truth of the output product with softmax cross-entropy.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/ref/gemm.h"

namespace conclave::kernels::ref {

template <typename T>
struct LinearCrossEntropy {
  int64_t rows = 0, width = 0, vocabulary = 0;  // T, H, V
  const T* hidden = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;  ///< null: none
  const int32_t* labels = nullptr;

  std::vector<T> logits() const {
    std::vector<T> out(static_cast<size_t>(rows * vocabulary));
    gemm<T>({rows, vocabulary, width, false, true, false}, hidden, weight, bias, out.data());
    return out;
  }

  void forward(T* loss) const {
    const std::vector<T> all = logits();
    for (int64_t t = 0; t < rows; ++t) {
      const T* row = all.data() + t * vocabulary;
      const bool inside = labels[t] >= 0 && labels[t] < vocabulary;
      loss[t] = inside ? log_sum_exp(row) - row[labels[t]] : T(0);
    }
  }

  /// dhidden is overwritten, dweight and dbias (null: none) are added to.
  void backward(const T* row_weight, T* dhidden, T* dweight, T* dbias) const {
    std::vector<T> gradient = logits();
    for (int64_t t = 0; t < rows; ++t) {
      T* row = gradient.data() + t * vocabulary;
      const T total = log_sum_exp(row);
      for (int64_t v = 0; v < vocabulary; ++v) {
        const T softmax = std::exp(row[v] - total);
        row[v] = row_weight[t] == 0 ? T(0) : row_weight[t] * (softmax - (v == labels[t] ? T(1) : T(0)));
        if (dbias != nullptr) dbias[v] += row[v];
      }
    }
    gemm<T>({rows, width, vocabulary, false, false, false}, gradient.data(), weight, nullptr, dhidden);
    gemm<T>({vocabulary, width, rows, true, false, true}, gradient.data(), hidden, nullptr, dweight);
  }

  /// Whether the label is the first of the largest logits.
  bool greedy_is_correct(const T* row, int64_t t) const {
    int64_t best = 0;
    for (int64_t v = 1; v < vocabulary; ++v) best = row[v] > row[best] ? v : best;
    return best == labels[t];
  }

 private:
  T log_sum_exp(const T* row) const {
    T most = row[0];
    for (int64_t v = 1; v < vocabulary; ++v) most = row[v] > most ? row[v] : most;
    T sum = 0;
    for (int64_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - most);
    return most + std::log(sum);
  }
};

}  // namespace conclave::kernels::ref
