// Scalar truth of cross-entropy over a cut vocabulary.
#pragma once

#include <cmath>
#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
struct VocabRows {
  int64_t rows = 0, columns = 0, first_id = 0, vocabulary = 0;
  const double* labels = nullptr;

  bool is_here(int64_t r) const { return labels[r] >= first_id && labels[r] < first_id + columns; }

  void maximum(const T* logits, T* out) const {
    for (int64_t r = 0; r < rows; ++r) {
      out[r] = logits[r * columns];
      for (int64_t v = 1; v < columns; ++v) out[r] = std::fmax(out[r], logits[r * columns + v]);
    }
  }

  void exponentials(T* logits, const T* maximum, T* sums) const {
    for (int64_t r = 0; r < rows; ++r) {
      T* row = logits + r * columns;
      sums[rows + r] = is_here(r) ? row[static_cast<int64_t>(labels[r]) - first_id] - maximum[r] : T(0);
      sums[r] = 0;
      for (int64_t v = 0; v < columns; ++v) {
        row[v] = std::exp(row[v] - maximum[r]);
        sums[r] += row[v];
      }
    }
  }

  void loss(const T* exponentials, const T* sums, const T* row_weight, T* loss, T* gradient) const {
    for (int64_t r = 0; r < rows; ++r) {
      const bool inside = labels[r] >= 0 && labels[r] < vocabulary;
      loss[r] = inside ? std::log(sums[r]) - sums[rows + r] : T(0);
      for (int64_t v = 0; v < columns && gradient != nullptr; ++v) {
        const T label = labels[r] == first_id + v ? T(1) : T(0);
        const int64_t at = r * columns + v;
        gradient[at] = row_weight[r] == 0 ? T(0) : row_weight[r] * (exponentials[at] / sums[r] - label);
      }
    }
  }
};

}  // namespace conclave::kernels::ref
