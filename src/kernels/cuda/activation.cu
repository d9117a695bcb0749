#include "kernels/activation_backend.h"
#include "kernels/cuda/reduce.cuh"

namespace conclave::kernels::cuda {
namespace {

struct ValueAndSlope {
  float value, slope;
};
struct TwoSigmoids {
  float of, rest;  // σ(x) and 1 - σ(x), both with all their digits
};

/// `rough`: to 1e-5, for results that are rounded to bf16; the exact form would take longer than the loads.
template <bool rough>
__device__ __forceinline__ TwoSigmoids two_sigmoids(float x) {
  const float e = rough ? __expf(-x) : expf(-x);
  const float s = rough ? __fdividef(1.0f, 1.0f + e) : 1.0f / (1.0f + e);
  // Beyond 2^126 the rough quotient is 0, as σ is to any rounding.
  return {s, e > 8e37f ? 1.0f : e * s};
}

template <bool rough>
__device__ __forceinline__ ValueAndSlope sigmoid_gate(float x, float steepness) {
  const TwoSigmoids s = two_sigmoids<rough>(steepness * x);
  const float value = x * s.of;
  return {value, s.of + steepness * value * s.rest};
}

__device__ __forceinline__ ValueAndSlope gelu(float x) {
  const float cumulative = 0.5f * erfcf(-0.70710678118654752f * x);
  const float density = 0.39894228040143268f * expf(-0.5f * x * x);
  return {x * cumulative, cumulative + x * density};
}

// (1 + tanh u) / 2 = σ(2u) keeps its digits in the left tail. Beyond ±100 σ is 0 or 1; the cube must not overflow.
__device__ __forceinline__ ValueAndSlope gelu_tanh(float x) {
  const float near = fminf(fmaxf(x, -100.0f), 100.0f), square = near * near;
  constexpr float kTwice = 1.5957691216f;  // 2 √(2/π)
  const TwoSigmoids s = two_sigmoids<false>(kTwice * near * (1.0f + 0.044715f * square));
  return {x * s.of, s.of + near * s.of * s.rest * (kTwice * (1.0f + 3 * 0.044715f * square))};
}

/// `kind` is the same for all threads, and the arithmetic hides under the loads: one kernel for all kinds.
template <bool rough>
__device__ __forceinline__ ValueAndSlope activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSilu:
      return sigmoid_gate<rough>(x, 1.0f);
    case ActivationKind::kGelu:
      return gelu(x);
    case ActivationKind::kGeluTanh:
      return gelu_tanh(x);
    case ActivationKind::kQuickGelu:
      return sigmoid_gate<rough>(x, 1.702f);
    case ActivationKind::kSquaredRelu: {
      const float positive = x > 0 ? x : x <= 0 ? 0 : x;
      return {positive * positive, 2.0f * positive};
    }
    default:
      return {x > 0 ? x : x <= 0 ? 0 : x, x <= 0 ? 0.0f : 1.0f};
  }
}

struct Form {
  ActivationKind kind;  ///< of the gate half
  float clamp, linear_offset;

  __device__ float gate(float x) const { return clamp > 0 && x > clamp ? clamp : x; }
  __device__ float linear(float x) const {
    return (clamp > 0 ? (x > clamp ? clamp : x < -clamp ? -clamp : x) : x) + linear_offset;
  }
  __device__ bool stops_gate(float x) const { return clamp > 0 && x > clamp; }
  __device__ bool stops_linear(float x) const { return clamp > 0 && (x > clamp || x < -clamp); }
};

template <typename T, bool gated, int V>
void forward(const Stream& stream, const ActivationForwardArgs& args, Form form) {
  const int64_t rows = args.y.size(0), width = args.y.size(1), packs = width / V;
  const T* x = pointer<const T>(args.x);
  T* y = pointer<T>(args.y);
  const float* weight = pointer<const float>(args.row_weight);
  const int64_t* row_count = pointer<const int64_t>(args.row_count);
  for_each(stream, "activation_forward", rows * packs, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index row = i / static_cast<Index>(packs), column = (i - row * static_cast<Index>(packs)) * V;
    if (row_count != nullptr && row >= *row_count) return;
    const T* from = x + int64_t{row} * (gated ? 2 * width : width) + column;
    const auto gate = load<V>(from);
    Pack<T, V> out;
    [[maybe_unused]] Pack<T, V> linear{};
    if constexpr (gated) linear = load<V>(from + width);
    const float factor = weight != nullptr ? weight[row] : 1.0f;
    for (int j = 0; j < V; ++j) {
      float value = activate<std::is_same_v<T, bf16>>(form.kind, form.gate(wide(gate.at[j]))).value;
      if constexpr (gated) value *= form.linear(wide(linear.at[j]));
      out.at[j] = narrow<T>(value * factor);
    }
    store(y + int64_t{row} * width + column, out);
  });
}

template <typename T>
struct BackwardRows {
  const T* dy;
  const T* x;
  T* dx;
  const float* weight;
  float* dweight;
  const int64_t* row_count;
  int64_t width;
};

// A block per row, which also sums what the row's weight gets.
template <typename T, bool gated, int V>
__global__ void backward_kernel(BackwardRows<T> rows, Form form) {
  __shared__ float room[8];
  const int64_t row = blockIdx.x, width = rows.width;
  if (rows.row_count != nullptr && row >= *rows.row_count) return;
  const int64_t x_first = row * (gated ? 2 * width : width);
  const float factor = rows.weight != nullptr ? rows.weight[row] : 1.0f;
  float sum = 0;
  for (int64_t column = int64_t{threadIdx.x} * V; column < width; column += int64_t{blockDim.x} * V) {
    const auto dy = load<V>(rows.dy + row * width + column);
    const auto gate = load<V>(rows.x + x_first + column);
    Pack<T, V> dgate;
    [[maybe_unused]] Pack<T, V> linear{}, dlinear;
    if constexpr (gated) linear = load<V>(rows.x + x_first + width + column);
    for (int j = 0; j < V; ++j) {
      const float d = wide(dy.at[j]), g = wide(gate.at[j]), weighted = d * factor;
      const ValueAndSlope act = activate<std::is_same_v<T, bf16>>(form.kind, form.gate(g));
      float value = act.value, to_gate = weighted * (form.stops_gate(g) ? 0.0f : act.slope);
      if constexpr (gated) {
        const float l = wide(linear.at[j]), other = form.linear(l);
        dlinear.at[j] = narrow<T>(form.stops_linear(l) ? 0.0f : weighted * value);
        value *= other;
        to_gate *= other;
      }
      sum += d * value;
      dgate.at[j] = narrow<T>(to_gate);
    }
    store(rows.dx + x_first + column, dgate);
    if constexpr (gated) store(rows.dx + x_first + width + column, dlinear);
  }
  if (rows.dweight == nullptr) return;
  sum = sum_block(sum, room);
  if (threadIdx.x == 0) rows.dweight[row] = sum;
}

template <typename T, bool gated, int V>
void backward(const Stream& stream, const ActivationBackwardArgs& args, Form form) {
  const int64_t rows = args.dy.size(0), width = args.dy.size(1);
  if (rows == 0) return;
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(round_up(ceil_div(width, V), kWarp), kWarp, 256));
  backward_kernel<T, gated, V><<<static_cast<unsigned>(rows), threads, 0, cuda_stream(stream)>>>(
      {pointer<const T>(args.dy), pointer<const T>(args.x), pointer<T>(args.dx), pointer<const float>(args.row_weight),
       pointer<float>(args.drow_weight), pointer<const int64_t>(args.row_count), width},
      form);
  check_launch("activation_backward");
}

}  // namespace

void activation_forward(const Stream& stream, const ActivationForwardArgs& args) {
  const Form form{activation_inside(args.kind), args.clamp, args.linear_offset};
  with_float(args.y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = kWide<T>;
    const bool fast = args.y.size(1) % V == 0 && aligned(16, args.x, args.y);
    if (is_gated(args.kind)) {
      fast ? forward<T, true, V>(stream, args, form) : forward<T, true, 1>(stream, args, form);
    } else {
      fast ? forward<T, false, V>(stream, args, form) : forward<T, false, 1>(stream, args, form);
    }
  });
}

void activation_backward(const Stream& stream, const ActivationBackwardArgs& args) {
  const Form form{activation_inside(args.kind), args.clamp, args.linear_offset};
  with_float(args.dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int V = kWide<T>;
    const bool fast = args.dy.size(1) % V == 0 && aligned(16, args.dy, args.x, args.dx);
    if (is_gated(args.kind)) {
      fast ? backward<T, true, V>(stream, args, form) : backward<T, true, 1>(stream, args, form);
    } else {
      fast ? backward<T, false, V>(stream, args, form) : backward<T, false, 1>(stream, args, form);
    }
  });
}

}  // namespace conclave::kernels::cuda
