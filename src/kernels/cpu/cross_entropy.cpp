#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/packed_product.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/vector.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cross_entropy_backend.h"

namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kChunkBytes = 16 << 20;
constexpr int64_t kFewestRows = 64;
constexpr int64_t kMostPackedBytes = 64 << 20;  // a larger weight is packed piece by piece again for each chunk

/// How T rows are cut, where a chunk's logits stand, and the products of a chunk.
class ChunkPlan {
 public:
  explicit ChunkPlan(const LinearCrossEntropyWork& work) : work_(work) {
    // An odd number of cache lines from row to row: columns of a power-of-two distance would all fall into the same few
    // cache sets when the weight gradient reads them.
    leading_ = round_up(work.vocabulary, kLanes);
    if (leading_ / kLanes % 2 == 0) leading_ += kLanes;
    const int64_t fitting = kChunkBytes / (work.vocabulary * static_cast<int64_t>(sizeof(float))) / 16 * 16;
    rows_ = work.chunk_rows > 0 ? work.chunk_rows : std::max(kFewestRows, fitting);
    rows_ = std::min(rows_, work.rows);
  }

  int64_t chunk_rows() const { return rows_; }
  int64_t leading() const { return leading_; }
  int64_t chunks() const { return ceil_div(work_.rows, std::max<int64_t>(rows_, 1)); }
  int64_t logit_bytes() const { return rows_ * leading_ * static_cast<int64_t>(sizeof(float)); }

  int64_t scratch_bytes() const {
    if (work_.rows == 0) return 0;
    int64_t most = scratch_of(rows_);
    if (work_.rows % rows_ != 0) most = std::max(most, scratch_of(work_.rows % rows_));
    return logit_bytes() + packed_bytes(logits(rows_)) + packed_bytes(hidden_gradient(rows_)) + most;
  }
  /// Of the weight, packed once for the products of all chunks; 0: not worth it, or not needed.
  int64_t packed_bytes(const MatmulSpec& spec) const {
    const bool wanted = spec.transpose_b == Transpose::kYes || work_.dhidden;
    const int64_t bytes = wanted && chunks() > 1 ? round_up(packed_right_bytes(spec), Allocator::kAlignment) : 0;
    return bytes <= kMostPackedBytes ? bytes : 0;
  }

  MatmulSpec logits(int64_t rows) const {
    MatmulSpec spec = product(rows, work_.vocabulary, work_.width);
    spec.c_dtype = DType::kF32;
    spec.transpose_b = Transpose::kYes;
    spec.lda = spec.ldb = work_.width;
    spec.ldc = leading_;
    spec.has_bias = work_.bias.defined();
    spec.bias_dtype = work_.hidden.dtype();
    return spec;
  }
  MatmulSpec hidden_gradient(int64_t rows) const {
    MatmulSpec spec = product(rows, work_.width, work_.vocabulary);
    spec.c_dtype = work_.hidden.dtype();
    spec.lda = gradient_leading();
    spec.ldb = spec.ldc = work_.width;
    return spec;
  }
  MatmulSpec weight_gradient(int64_t rows) const {
    MatmulSpec spec = product(work_.vocabulary, work_.width, rows);
    spec.c_dtype = DType::kF32;
    spec.transpose_a = Transpose::kYes;
    spec.lda = gradient_leading();
    spec.ldb = spec.ldc = work_.width;
    spec.accumulate = Accumulate::kAdd;
    return spec;
  }
  /// The gradient takes the place of the logits, row by row; narrower elements leave the end of each row unused.
  int64_t gradient_leading() const {
    return leading_ * static_cast<int64_t>(sizeof(float)) / dtype_size(work_.hidden.dtype());
  }

 private:
  MatmulSpec product(int64_t m, int64_t n, int64_t k) const {
    return {.m = m, .n = n, .k = k, .dtype = work_.hidden.dtype(), .threads = omp_get_max_threads()};
  }
  int64_t scratch_of(int64_t rows) const {
    int64_t bytes = product_scratch_bytes(logits(rows));
    if (work_.dhidden) bytes = std::max(bytes, product_scratch_bytes(hidden_gradient(rows)));
    if (work_.dweight) bytes = std::max(bytes, product_scratch_bytes(weight_gradient(rows)));
    return bytes;
  }

  const LinearCrossEntropyWork& work_;
  int64_t leading_ = 0, rows_ = 0;
};

/// The bits of |x| order as whole numbers do, NaN above infinity.
uint32_t largest_magnitude(const float* row, int64_t count) {
  VecU most{};
  for_each_vector(count, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecU bits = std::bit_cast<VecU>(load_some(row + j, n)) & 0x7fffffffu;
    most = bits > most ? bits : most;
  });
  uint32_t out = 0;
  for (int i = 0; i < kLanes; ++i) out = std::max<uint32_t>(out, most[i]);
  return out;
}

float largest(const float* row, int64_t count) {
  float rest = row[0];
  VecF most = broadcast(rest);
  for_each_vector(count, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    if (n == kLanes) {
      most = maximum(load(row + j), most);
    } else {
      for (int64_t i = j; i < j + n; ++i) rest = std::max(rest, row[i]);
    }
  });
  return std::max(rest, maximum_lane(most));
}

/// row = e^(row - most); returns the sum.
float exponentials(float* row, int64_t count, float most) {
  VecF sum{};
  for_each_vector(count, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    VecF e = exp(load_some(row + j, n) - most);
    if (n < kLanes) e = select(lane_index() < static_cast<int32_t>(n), e, VecF{});
    store_some(row + j, e, n);
    sum += e;
  });
  return sum_lanes(sum);
}

/// From exponentials to the gradient at the logits, in place; out may be narrower than row.
template <typename T>
void softmax_gradient(float* row, int64_t count, float factor) {
  T* out = reinterpret_cast<T*>(row);
  for_each_vector(count, [&](int64_t j, int64_t n)
                             CONCLAVE_INLINE_LAMBDA { store_some(out + j, load_some(row + j, n) * factor, n); });
}

template <typename T>
void store_one(float* row, int64_t at, float value) {
  T* out = reinterpret_cast<T*>(row) + at;
  if constexpr (std::is_same_v<T, BF16>) {
    *out = to_bf16(value);
  } else {
    *out = value;
  }
}

/// Loss and gradient of one row of logits.
template <typename T>
class RowLoss {
 public:
  explicit RowLoss(const LinearCrossEntropyWork& work)
      : vocabulary_(work.vocabulary),
        labels_(work.labels.data<int32_t>()),
        loss_(work.loss.data<float>()),
        weights_(work.row_weight ? work.row_weight.data<float>() : nullptr),
        correct_(work.greedy_correct ? work.greedy_correct.data<uint8_t>() : nullptr) {}

  bool label_is_inside(int64_t t) const { return labels_[t] >= 0 && labels_[t] < vocabulary_; }
  bool is_wrong(int64_t t) const { return weights_ != nullptr && weights_[t] != 0 && !label_is_inside(t); }

  /// Replaces logits by gradients if there are row weights.
  void row(int64_t t, float* logits) const {
    const int64_t label = labels_[t];
    const bool inside = label_is_inside(t);
    const float most = largest(logits, vocabulary_);
    const float at_label = inside ? logits[label] : 0;
    if (correct_ != nullptr)
      correct_[t] = inside && at_label == most && std::find(logits, logits + label, most) == logits + label ? 1 : 0;
    const float sum = exponentials(logits, vocabulary_, most);
    loss_[t] = inside ? most + std::log(sum) - at_label : 0.0f;
    if (weights_ == nullptr) return;
    const float weight = weights_[t];
    if (weight == 0) {
      std::memset(logits, 0, static_cast<size_t>(vocabulary_) * sizeof(T));
      return;
    }
    const float factor = weight / sum, label_gradient = logits[label] * factor - weight;
    softmax_gradient<T>(logits, vocabulary_, factor);
    store_one<T>(logits, label, label_gradient);
  }

 private:
  int64_t vocabulary_;
  const int32_t* labels_;
  float* loss_;
  const float* weights_;
  uint8_t* correct_;
};

template <typename T>
void add_bias_gradient(const LinearCrossEntropyWork& work, const ChunkPlan& plan, const T* gradient, int64_t rows) {
  float* dbias = work.dbias.data<float>();
  const int64_t vectors = ceil_div(work.vocabulary, kLanes), stride = plan.gradient_leading();
#pragma omp parallel for schedule(static)
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t j = v * kLanes, count = std::min(kLanes, work.vocabulary - j);
    VecF sum{};
    for (int64_t r = 0; r < rows; ++r) sum += load_some(gradient + r * stride + j, count);
    store_some(dbias + j, load_some(dbias + j, count) + sum, count);
  }
}

/// The parts of the workspace; the weight is packed where that pays.
struct ChunkMemory {
  std::byte* logits;
  const std::byte* weight_for_logits = nullptr;
  const std::byte* weight_for_hidden = nullptr;
  std::byte* scratch;

  ChunkMemory(const LinearCrossEntropyWork& work, const ChunkPlan& plan)
      : logits(work.workspace.raw()), scratch(logits + plan.logit_bytes()) {
    const auto take = [&](const MatmulSpec& spec) -> const std::byte* {
      if (plan.packed_bytes(spec) == 0) return nullptr;
      pack_right(spec, work.weight.raw(), scratch);
      scratch += plan.packed_bytes(spec);
      return scratch - plan.packed_bytes(spec);
    };
    weight_for_logits = take(plan.logits(plan.chunk_rows()));
    weight_for_hidden = take(plan.hidden_gradient(plan.chunk_rows()));
  }
};

/// Products, losses and gradients of a chunk of rows.
template <typename T>
void run_chunk(const LinearCrossEntropyWork& work, const ChunkPlan& plan, const ChunkMemory& memory, int64_t begin) {
  const int64_t rows = std::min(plan.chunk_rows(), work.rows - begin);
  std::byte *const logits = memory.logits, *const scratch = memory.scratch;
  const T* const hidden = work.hidden.data<T>() + begin * work.width;
  run_product(plan.logits(rows), {.a = hidden,
                                  .b = work.weight.raw(),
                                  .bias = work.bias.raw(),
                                  .c = logits,
                                  .scratch = scratch,
                                  .packed_b = memory.weight_for_logits});
  const RowLoss<T> loss(work);
  uint32_t most = 0;
#pragma omp parallel for schedule(static) reduction(max : most)
  for (int64_t r = 0; r < rows; ++r) {
    float* row = reinterpret_cast<float*>(logits) + r * plan.leading();
    if (work.logit_maximum) most = std::max(most, largest_magnitude(row, work.vocabulary));
    loss.row(begin + r, row);
  }
  if (work.logit_maximum) {
    float* kept = work.logit_maximum.data<float>();
    *kept = std::bit_cast<float>(std::max(most, std::bit_cast<uint32_t>(*kept) & 0x7fffffffu));
  }
  if (work.dbias) add_bias_gradient(work, plan, reinterpret_cast<const T*>(logits), rows);
  if (work.dhidden)
    run_product(plan.hidden_gradient(rows), {.a = logits,
                                             .b = work.weight.raw(),
                                             .c = work.dhidden.data<T>() + begin * work.width,
                                             .scratch = scratch,
                                             .packed_b = memory.weight_for_hidden});
  if (work.dweight)
    run_product(plan.weight_gradient(rows), {.a = logits, .b = hidden, .c = work.dweight.raw(), .scratch = scratch});
}

template <typename T>
void run_all(const LinearCrossEntropyWork& work) {
  const RowLoss<T> loss(work);
  for (int64_t t = 0; t < work.rows; ++t)
    CONCLAVE_CHECK(!loss.is_wrong(t),
                   "[kernels/linear_cross_entropy] label {} of row {} is outside the vocabulary of {}",
                   work.labels.data<int32_t>()[t], t, work.vocabulary);
  const ChunkPlan plan(work);
  const ChunkMemory memory(work, plan);
  for (int64_t begin = 0; begin < work.rows; begin += plan.chunk_rows()) run_chunk<T>(work, plan, memory, begin);
}

}  // namespace

int64_t linear_cross_entropy_scratch_bytes(const LinearCrossEntropyWork& work) {
  return ChunkPlan(work).scratch_bytes();
}

void linear_cross_entropy(const Stream&, const LinearCrossEntropyWork& work) {
  work.hidden.dtype() == DType::kBF16 ? run_all<BF16>(work) : run_all<float>(work);
}

}  // namespace conclave::kernels::cpu
