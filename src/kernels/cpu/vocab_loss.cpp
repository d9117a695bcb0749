#include "kernels/vocab_loss_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/vector.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kSmall = 1 << 14;  // elements not worth a second thread

template <typename T>
void gradient_row(const float* row, int64_t columns, float factor, T* out) {
  for_each_vector(columns, [&](int64_t j, int64_t n)
                               CONCLAVE_INLINE_LAMBDA { store_some(out + j, load_some(row + j, n) * factor, n); });
}

template <typename T>
void set_label(const float* row, int64_t column, float factor, float weight, T* out) {
  const float value = row[column] * factor - weight;
  if constexpr (std::is_same_v<T, BF16>) {
    out[column] = to_bf16(value);
  } else {
    out[column] = value;
  }
}

template <typename T>
void gradients(const VocabLossArgs& args) {
  const int64_t rows = args.exponentials.size(0), columns = args.exponentials.size(1);
  const float* sums = args.sums.data<float>();
  const float* weights = args.row_weight.data<float>();
  const int32_t* labels = args.labels.data<int32_t>();
#pragma omp parallel for schedule(static) if (rows * columns >= kSmall)
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = args.exponentials.data<float>() + r * columns;
    T* out = args.gradient.data<T>() + r * columns;
    if (weights[r] == 0) {
      std::memset(out, 0, static_cast<size_t>(columns) * sizeof(T));
      continue;
    }
    const float factor = weights[r] / sums[r];
    gradient_row(row, columns, factor, out);
    const int64_t column = labels[r] - args.first_id;
    if (column >= 0 && column < columns) set_label(row, column, factor, weights[r], out);
  }
}

}  // namespace

void vocab_row_maximum(const Stream&, const VocabRowMaximumArgs& args) {
  const int64_t rows = args.logits.size(0), columns = args.logits.size(1);
#pragma omp parallel for schedule(static) if (rows * columns >= kSmall)
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = args.logits.data<float>() + r * columns;
    float rest = row[0];
    VecF most = broadcast(rest);
    for_each_vector(columns, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      if (n == kLanes) {
        most = maximum(load(row + j), most);
      } else {
        for (int64_t i = j; i < j + n; ++i) rest = std::max(rest, row[i]);
      }
    });
    args.maximum.data<float>()[r] = std::max(rest, maximum_lane(most));
  }
}

void vocab_exponentials(const Stream&, const VocabExponentialsArgs& args) {
  const int64_t rows = args.logits.size(0), columns = args.logits.size(1);
  const int32_t* labels = args.labels.data<int32_t>();
  float* sums = args.sums.data<float>();
#pragma omp parallel for schedule(static) if (rows * columns >= kSmall)
  for (int64_t r = 0; r < rows; ++r) {
    float* row = args.logits.data<float>() + r * columns;
    const float most = args.maximum.data<float>()[r];
    const int64_t label = labels[r] - args.first_id;
    sums[rows + r] = label >= 0 && label < columns ? row[label] - most : 0.0f;
    VecF sum{};
    for_each_vector(columns, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      VecF e = exp(load_some(row + j, n) - most);
      if (n < kLanes) e = select(lane_index() < static_cast<int32_t>(n), e, VecF{});
      store_some(row + j, e, n);
      sum += e;
    });
    sums[r] = sum_lanes(sum);
  }
}

void vocab_loss(const Stream&, const VocabLossArgs& args) {
  const int64_t rows = args.exponentials.size(0);
  const float* sums = args.sums.data<float>();
  const int32_t* labels = args.labels.data<int32_t>();
  for (int64_t r = 0; r < rows; ++r) {
    const bool inside = labels[r] >= 0 && labels[r] < args.vocabulary;
    CONCLAVE_CHECK(inside || !args.row_weight || args.row_weight.data<float>()[r] == 0,
                   "[kernels/vocab_loss] label {} of row {} is outside the vocabulary of {}", labels[r], r,
                   args.vocabulary);
    args.loss.data<float>()[r] = inside ? std::log(sums[r]) - sums[rows + r] : 0.0f;
  }
  if (!args.gradient) return;
  args.gradient.dtype() == DType::kBF16 ? gradients<BF16>(args) : gradients<float>(args);
}

}  // namespace conclave::kernels::cpu
