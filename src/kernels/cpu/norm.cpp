#include <algorithm>
#include <cmath>

#include "kernels/cpu/vector.h"
#include "kernels/norm_backend.h"

namespace conclave::kernels::cpu {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t kThreadedElements = 1 << 14;

template <typename T>
struct Rows {
  const T* x;
  const T* weight;
  const T* bias;
  T* y;
  float* mean;
  float* rstd;
  int64_t width;
};

struct Statistics {
  float mean, rstd;
};

template <NormKind kind, typename T>
Statistics row_statistics(const T* x, int64_t width, float epsilon) {
  const float count = static_cast<float>(width);
  float mean = 0;
  if constexpr (kind == NormKind::kLayer) {
    VecF sum{};
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA { sum += load_some(x + j, n); });
    mean = sum_lanes(sum) / count;
  }
  VecF square{};
  for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    VecF value = load_some(x + j, n);
    if constexpr (kind == NormKind::kLayer) {
      value = value - mean;
      if (n < kLanes) value = select(lane_index() < static_cast<int32_t>(n), value, VecF{});
    }
    square += value * value;
  });
  return {mean, 1.0f / std::sqrt(sum_lanes(square) / count + epsilon)};
}

template <NormKind kind, typename T>
void forward_rows(const NormForwardArgs& args) {
  const int64_t rows = args.x.size(0), width = args.x.size(1);
  const T* x = args.x.data<T>();
  const T* weight = args.weight.data<T>();
  const T* bias = args.bias ? args.bias.data<T>() : nullptr;
  T* y = args.y.data<T>();
  float* means = args.mean ? args.mean.data<float>() : nullptr;
  float* rstds = args.rstd ? args.rstd.data<float>() : nullptr;
  const float epsilon = static_cast<float>(args.epsilon), offset = args.weight_offset;
#pragma omp parallel for schedule(static) if (rows * width >= kThreadedElements)
  for (int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * width;
    T* out = y + r * width;
    const Statistics s = row_statistics<kind>(row, width, epsilon);
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      VecF value = load_some(row + j, n);
      if constexpr (kind == NormKind::kLayer) value = value - s.mean;
      value = value * s.rstd * (load_some(weight + j, n) + offset);
      if (bias != nullptr) value += load_some(bias + j, n);
      store_some(out + j, value, n);
    });
    if (means != nullptr) means[r] = s.mean;
    if (rstds != nullptr) rstds[r] = s.rstd;
  }
}

template <typename T>
void forward_kind(const NormForwardArgs& args) {
  if (args.kind == NormKind::kRms) {
    forward_rows<NormKind::kRms, T>(args);
  } else {
    forward_rows<NormKind::kLayer, T>(args);
  }
}

// Pointers of the backward pass at one row, and the sums that its block of rows keeps.
template <typename T>
struct BackwardRow {
  const T* dy;
  const T* x;
  const T* weight;
  const T* residual;
  T* dx;
  int64_t width;
  float mean, rstd, offset;
  float* dweight;  // sums of the block, or null
  float* dbias;
};

template <NormKind kind, bool add, typename T>
void backward_row(const BackwardRow<T>& row) {
  const auto normal = [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecF x = load_some(row.x + j, n);
    return kind == NormKind::kLayer ? (x - row.mean) * row.rstd : x * row.rstd;
  };
  VecF sum_g{}, sum_gx{};
  for_each_vector(row.width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecF dy = load_some(row.dy + j, n), xhat = normal(j, n);
    const VecF g = dy * (load_some(row.weight + j, n) + row.offset);
    if constexpr (kind == NormKind::kLayer) sum_g += g;
    sum_gx += g * xhat;
    if (row.dweight != nullptr) store_some(row.dweight + j, load_some(row.dweight + j, n) + dy * xhat, n);
    if (row.dbias != nullptr) store_some(row.dbias + j, load_some(row.dbias + j, n) + dy, n);
  });
  const float count = static_cast<float>(row.width);
  const float mean_g = sum_lanes(sum_g) / count, mean_gx = sum_lanes(sum_gx) / count;
  for_each_vector(row.width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecF g = load_some(row.dy + j, n) * (load_some(row.weight + j, n) + row.offset);
    VecF dx = row.rstd * (g - mean_g - normal(j, n) * mean_gx);
    if constexpr (add) dx += load_some(row.residual + j, n);
    store_some(row.dx + j, dx, n);
  });
}

// target[j] += the blocks' sums, in order of blocks.
void add_blocks(const float* partials, int64_t blocks, int64_t width, float* target) {
#pragma omp parallel for schedule(static) if (blocks * width >= kThreadedElements)
  for (int64_t begin = 0; begin < width; begin += 256) {
    const int64_t length = std::min<int64_t>(256, width - begin);
    for (int64_t b = 0; b < blocks; ++b) {
      for (int64_t j = 0; j < length; ++j) target[begin + j] += partials[b * width + begin + j];
    }
  }
}

template <NormKind kind, bool add, typename T>
void backward_rows(const NormBackwardWork& work) {
  const NormBackwardArgs& args = work.args;
  const int64_t rows = args.x.size(0), width = args.x.size(1), block = norm_gradient_block_rows(rows);
  const int64_t blocks = ceil_div(rows, block);
  float* partials = work.partials ? work.partials.data<float>() : nullptr;
  float* weight_partials = args.dweight ? partials : nullptr;
  float* bias_partials = args.dbias ? partials + (args.dweight ? blocks * width : 0) : nullptr;
  const T* dy = args.dy.data<T>();
  const T* x = args.x.data<T>();
  const T* residual = add ? args.residual.data<T>() : nullptr;
  T* dx = args.dx.data<T>();
  const T* weight = args.weight.data<T>();
  const float* rstd = args.rstd.data<float>();
  const float* mean = kind == NormKind::kLayer ? args.mean.data<float>() : nullptr;
#pragma omp parallel for schedule(static) if (rows * width >= kThreadedElements)
  for (int64_t b = 0; b < blocks; ++b) {
    float* dweight = weight_partials != nullptr ? weight_partials + b * width : nullptr;
    float* dbias = bias_partials != nullptr ? bias_partials + b * width : nullptr;
    if (dweight != nullptr) std::fill_n(dweight, width, 0.0f);
    if (dbias != nullptr) std::fill_n(dbias, width, 0.0f);
    for (int64_t r = b * block; r < std::min(rows, (b + 1) * block); ++r) {
      backward_row<kind, add, T>({dy + r * width, x + r * width, weight, add ? residual + r * width : nullptr,
                                  dx + r * width, width, mean != nullptr ? mean[r] : 0.0f, rstd[r], args.weight_offset,
                                  dweight, dbias});
    }
  }
  if (weight_partials != nullptr) add_blocks(weight_partials, blocks, width, args.dweight.data<float>());
  if (bias_partials != nullptr) add_blocks(bias_partials, blocks, width, args.dbias.data<float>());
}

template <typename T>
void backward_kind(const NormBackwardWork& work) {
  const bool add = work.args.residual.defined();
  if (work.args.kind == NormKind::kRms) {
    add ? backward_rows<NormKind::kRms, true, T>(work) : backward_rows<NormKind::kRms, false, T>(work);
  } else {
    add ? backward_rows<NormKind::kLayer, true, T>(work) : backward_rows<NormKind::kLayer, false, T>(work);
  }
}

}  // namespace

void norm_forward(const Stream&, const NormForwardArgs& args) {
  args.x.dtype() == DType::kF32 ? forward_kind<float>(args) : forward_kind<BF16>(args);
}

void norm_backward(const Stream&, const NormBackwardWork& work) {
  work.args.x.dtype() == DType::kF32 ? backward_kind<float>(work) : backward_kind<BF16>(work);
}

}  // namespace conclave::kernels::cpu
