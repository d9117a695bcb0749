#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vector.h"
#include "kernels/elementwise_backend.h"

namespace conclave::kernels::cpu {
namespace {

template <typename T>
T converted(double value) {
  return static_cast<T>(value);
}
template <>
BF16 converted<BF16>(double value) {
  return to_bf16(static_cast<float>(value));
}

template <typename T>
void fill_all(const FillArgs& args) {
  T* x = args.x.data<T>();
  const T value = converted<T>(args.value);
  for_each_piece(args.x.element_count(), [&](int64_t begin, int64_t end) { std::fill(x + begin, x + end, value); });
}

template <typename From, typename To>
To cast_one(From value) {
  if constexpr (std::is_same_v<To, BF16>) {
    return to_bf16(static_cast<float>(to_float(value)));
  } else {
    return static_cast<To>(to_float(value));
  }
}

template <typename From, typename To>
void cast_all(const CastArgs& args) {
  const From* x = args.x.data<From>();
  To* y = args.y.data<To>();
  for_each_piece(args.x.element_count(), [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) y[i] = cast_one<From, To>(x[i]);
  });
}

template <typename From>
void cast_from(const CastArgs& args) {
  switch (args.y.dtype()) {
    case DType::kF32:
      return cast_all<From, float>(args);
    case DType::kBF16:
      return cast_all<From, BF16>(args);
    default:
      return cast_all<From, double>(args);
  }
}

void copy_bytes(const CastArgs& args) {
  for_each_piece(args.x.bytes(), [&](int64_t begin, int64_t end) {
    std::memmove(args.y.raw() + begin, args.x.raw() + begin, static_cast<size_t>(end - begin));
  });
}

template <typename T, typename Number>
void scale_all(const ScaleArgs& args) {
  const T* x = args.x.data<T>();
  T* y = args.y.data<T>();
  const Number device = args.device_scale ? static_cast<Number>(*args.device_scale.data<float>()) : Number(1);
  const Number factor = static_cast<Number>(args.scale) * device;
  const bool add = args.accumulate == Accumulate::kAdd;
  for_each_piece(args.x.element_count(), [&](int64_t begin, int64_t end) {
    if (add) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = cast_one<Number, T>(to_float(y[i]) + factor * to_float(x[i]));
    } else {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = cast_one<Number, T>(factor * to_float(x[i]));
    }
  });
}

// Rows whose sum is made first and then added to the total: keeps the error of long sums small.
constexpr int64_t kRowBlock = 64;

template <typename T>
void column_sums(const ColumnSumArgs& args) {
  const T* x = args.x.data<T>();
  float* out = args.out.data<float>();
  const int64_t rows = args.x.size(0), columns = args.x.size(1), vectors = ceil_div(columns, kLanes);
#pragma omp parallel for schedule(static) if (rows * columns >= kPiece)
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t j = v * kLanes, count = std::min(kLanes, columns - j);
    VecF total{};
    for (int64_t begin = 0; begin < rows; begin += kRowBlock) {
      VecF sum{};
      for (int64_t r = begin; r < std::min(rows, begin + kRowBlock); ++r) sum += load_some(x + r * columns + j, count);
      total += sum;
    }
    store_some(out + j, load_some(out + j, count) + total, count);
  }
}

float sigmoid_of(float x) { return 1.0f / (1.0f + std::exp(-x)); }

template <typename T>
void gate_rows(const RowGateForwardArgs& args) {
  const int64_t rows = args.value.size(0), width = args.value.size(1);
  const T* value = args.value.data<T>();
  const float* gate = args.gate.data<float>();
  T* y = args.y.data<T>();
#pragma omp parallel for schedule(static) if (rows * width >= kPiece)
  for (int64_t r = 0; r < rows; ++r) {
    const float s = sigmoid_of(gate[r]);
#pragma omp simd
    for (int64_t i = r * width; i < (r + 1) * width; ++i) y[i] = cast_one<float, T>(to_float(value[i]) * s);
  }
}

template <typename T>
void gate_rows_backward(const RowGateBackwardArgs& args) {
  const int64_t rows = args.value.size(0), width = args.value.size(1);
  const T* dy = args.dy.data<T>();
  const T* value = args.value.data<T>();
  const float* gate = args.gate.data<float>();
  T* dvalue = args.dvalue.data<T>();
  float* dgate = args.dgate.data<float>();
#pragma omp parallel for schedule(static) if (rows * width >= kPiece)
  for (int64_t r = 0; r < rows; ++r) {
    const float s = sigmoid_of(gate[r]);
    VecF dot{};
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      const int64_t at = r * width + j;
      const VecF d = load_some(dy + at, n);
      dot += d * load_some(value + at, n);
      store_some(dvalue + at, d * s, n);
    });
    dgate[r] = sum_lanes(dot) * s * (1 - s);
  }
}

// The bits of |x| order as whole numbers do, and a NaN is larger than infinity: none is passed over.
uint32_t magnitude_bits(float value) { return std::bit_cast<uint32_t>(value) & 0x7fffffffu; }
uint32_t magnitude_bits(BF16 value) { return static_cast<uint32_t>(value.bits & 0x7fffu) << 16; }

template <typename T>
float largest_magnitude(const Tensor& tensor) {
  const T* x = tensor.data<T>();
  const int64_t count = tensor.element_count();
  uint32_t most = 0;
#pragma omp parallel for simd schedule(static) reduction(max : most) if (count > kPiece)
  for (int64_t i = 0; i < count; ++i) most = std::max(most, magnitude_bits(x[i]));
  return std::bit_cast<float>(most);
}

template <typename T>
int64_t nonfinite(const Tensor& tensor) {
  const T* x = tensor.data<T>();
  const int64_t count = tensor.element_count();
  int64_t found = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : found) if (count > kPiece)
  for (int64_t i = 0; i < count; ++i) found += magnitude_bits(x[i]) >= 0x7f800000u ? 1 : 0;
  return found;
}

}  // namespace

void fill(const Stream&, const FillArgs& args) {
  switch (args.x.dtype()) {
    case DType::kF32:
      return fill_all<float>(args);
    case DType::kBF16:
      return fill_all<BF16>(args);
    case DType::kF64:
      return fill_all<double>(args);
    case DType::kI32:
      return fill_all<int32_t>(args);
    case DType::kI64:
      return fill_all<int64_t>(args);
    default:
      return fill_all<uint8_t>(args);
  }
}

void cast(const Stream&, const CastArgs& args) {
  if (args.x.dtype() == args.y.dtype()) return copy_bytes(args);
  switch (args.x.dtype()) {
    case DType::kF32:
      return cast_from<float>(args);
    case DType::kBF16:
      return cast_from<BF16>(args);
    default:
      return cast_from<double>(args);
  }
}

void scale(const Stream&, const ScaleArgs& args) {
  switch (args.x.dtype()) {
    case DType::kF32:
      return scale_all<float, float>(args);
    case DType::kBF16:
      return scale_all<BF16, float>(args);
    default:
      return scale_all<double, double>(args);
  }
}

void column_sum(const Stream&, const ColumnSumArgs& args) {
  args.x.dtype() == DType::kBF16 ? column_sums<BF16>(args) : column_sums<float>(args);
}

void row_gate_forward(const Stream&, const RowGateForwardArgs& args) {
  args.value.dtype() == DType::kBF16 ? gate_rows<BF16>(args) : gate_rows<float>(args);
}

void row_gate_backward(const Stream&, const RowGateBackwardArgs& args) {
  args.value.dtype() == DType::kBF16 ? gate_rows_backward<BF16>(args) : gate_rows_backward<float>(args);
}

void count_nonfinite(const Stream&, const CountNonFiniteArgs& args) {
  *args.count.data<int64_t>() = args.x.dtype() == DType::kBF16 ? nonfinite<BF16>(args.x) : nonfinite<float>(args.x);
}

void abs_max(const Stream&, const AbsMaxArgs& args) {
  *args.out.data<float>() =
      args.x.dtype() == DType::kBF16 ? largest_magnitude<BF16>(args.x) : largest_magnitude<float>(args.x);
}

}  // namespace conclave::kernels::cpu
