#include <algorithm>

#include "kernels/activation_backend.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {
namespace {

struct ValueAndSlope {
  VecF value, slope;
};

// σ(x) and 1 - σ(x), both with all their digits.
struct TwoSigmoids {
  VecF of, rest;
};
inline TwoSigmoids two_sigmoids(VecF x) {
  const VecF e = exp(-x), s = 1.0f / (1.0f + e);
  return {s, select(e > 3e38f, broadcast(1.0f), e * s)};
}

inline ValueAndSlope sigmoid_gate(VecF x, float steepness) {
  const TwoSigmoids s = two_sigmoids(steepness * x);
  const VecF value = x * s.of;
  return {value, s.of + steepness * value * s.rest};
}

template <ActivationKind kind>
inline ValueAndSlope activate(VecF x) {
  const VecF zero{};
  if constexpr (kind == ActivationKind::kGelu) {
    const NormalCurve curve = normal_curve(x);
    return {x * curve.cumulative, curve.cumulative + x * curve.density};
  } else if constexpr (kind == ActivationKind::kGeluTanh) {
    // (1 + tanh u) / 2 = σ(2u), which keeps its digits in the left tail. Beyond ±100 σ is 0 or 1; the cube must not
    // overflow.
    const VecF near = minimum(maximum(x, broadcast(-100.0f)), broadcast(100.0f));
    constexpr float kTwice = 1.5957691216f;  // 2 √(2/π)
    const VecF square = near * near;
    const TwoSigmoids s = two_sigmoids(kTwice * near * (1.0f + 0.044715f * square));
    return {x * s.of, s.of + near * s.of * s.rest * (kTwice * (1.0f + 3 * 0.044715f * square))};
  } else if constexpr (kind == ActivationKind::kQuickGelu) {
    return sigmoid_gate(x, 1.702f);
  } else if constexpr (kind == ActivationKind::kSilu) {
    return sigmoid_gate(x, 1.0f);
  } else {
    const VecF positive = maximum(x, zero);
    if constexpr (kind == ActivationKind::kSquaredRelu) return {positive * positive, 2.0f * positive};
    return {positive, select(x <= zero, zero, broadcast(1.0f))};
  }
}

int64_t active_rows(const Tensor& row_count, int64_t rows) {
  return row_count ? std::clamp<int64_t>(*row_count.data<int64_t>(), 0, rows) : rows;
}

// The limits on both halves and the offset of the linear one; nothing is compared where there are no limits.
template <bool limited>
struct Limits {
  float clamp;
  float linear_offset;

  VecF gate(VecF x) const { return limited ? minimum(x, broadcast(clamp)) : x; }
  VecF linear(VecF x) const {
    return (limited ? minimum(maximum(x, broadcast(-clamp)), broadcast(clamp)) : x) + linear_offset;
  }
  // A gradient, or zero where the limit stands in its way.
  VecF through_gate(VecF x, VecF gradient) const { return limited ? select(x > clamp, VecF{}, gradient) : gradient; }
  VecF through_linear(VecF x, VecF gradient) const {
    return limited ? select((x > clamp) | (x < -clamp), VecF{}, gradient) : gradient;
  }
};

template <ActivationKind kind, bool gated, bool limited, typename T>
void forward_row(const T* x, T* y, int64_t width, float weight, Limits<limited> limits) {
  for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    VecF value = activate<kind>(limits.gate(load_some(x + j, n))).value;
    if constexpr (gated) value = value * limits.linear(load_some(x + width + j, n));
    store_some(y + j, value * weight, n);
  });
}

template <ActivationKind kind, bool gated, bool limited, typename T>
void forward(const ActivationForwardArgs& args) {
  const int64_t width = args.y.size(1), rows = active_rows(args.row_count, args.y.size(0));
  const int64_t x_width = gated ? 2 * width : width;
  const Limits<limited> limits{args.clamp, args.linear_offset};
  const T* x = args.x.data<T>();
  T* y = args.y.data<T>();
  const float* weight = args.row_weight ? args.row_weight.data<float>() : nullptr;
#pragma omp parallel for schedule(static) if (rows * width >= (1 << 13))
  for (int64_t r = 0; r < rows; ++r) {
    forward_row<kind, gated>(x + r * x_width, y + r * width, width, weight != nullptr ? weight[r] : 1.0f, limits);
  }
}

template <typename T>
struct BackwardRow {
  const T* dy;
  const T* x;
  T* dx;
  int64_t width;
  float weight;
};

// Returns the sum over F of dy * act(x).
template <ActivationKind kind, bool gated, bool limited, typename T>
float backward_row(const BackwardRow<T>& row, Limits<limited> limits) {
  VecF sum{};
  for_each_vector(row.width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
    const VecF dy = load_some(row.dy + j, n), gate = load_some(row.x + j, n), weighted = dy * row.weight;
    const ValueAndSlope act = activate<kind>(limits.gate(gate));
    VecF value = act.value, dgate = weighted * limits.through_gate(gate, act.slope);
    if constexpr (gated) {
      const VecF linear = load_some(row.x + row.width + j, n), factor = limits.linear(linear);
      store_some(row.dx + row.width + j, limits.through_linear(linear, weighted * value), n);
      value = value * factor;
      dgate = dgate * factor;
    }
    sum += dy * value;
    store_some(row.dx + j, dgate, n);
  });
  return sum_lanes(sum);
}

template <ActivationKind kind, bool gated, bool limited, typename T>
void backward(const ActivationBackwardArgs& args) {
  const int64_t width = args.dy.size(1), rows = active_rows(args.row_count, args.dy.size(0));
  const int64_t x_width = gated ? 2 * width : width;
  const Limits<limited> limits{args.clamp, args.linear_offset};
  const T* dy = args.dy.data<T>();
  const T* x = args.x.data<T>();
  T* dx = args.dx.data<T>();
  const float* weight = args.row_weight ? args.row_weight.data<float>() : nullptr;
  float* dweight = args.drow_weight ? args.drow_weight.data<float>() : nullptr;
#pragma omp parallel for schedule(static) if (rows * width >= (1 << 13))
  for (int64_t r = 0; r < rows; ++r) {
    const BackwardRow<T> row{dy + r * width, x + r * x_width, dx + r * x_width, width,
                             weight != nullptr ? weight[r] : 1.0f};
    const float sum = backward_row<kind, gated>(row, limits);
    if (dweight != nullptr) dweight[r] = sum;
  }
}

// Calls body.template operator()<kind of the gate, gated, T>() for the kind and dtype at hand.
template <typename T, typename Body>
void with_kind(ActivationKind kind, Body body) {
  using enum ActivationKind;
  switch (kind) {
    case kGelu:
      return body.template operator()<kGelu, false, T>();
    case kGeluTanh:
      return body.template operator()<kGeluTanh, false, T>();
    case kQuickGelu:
      return body.template operator()<kQuickGelu, false, T>();
    case kSilu:
      return body.template operator()<kSilu, false, T>();
    case kRelu:
      return body.template operator()<kRelu, false, T>();
    case kSquaredRelu:
      return body.template operator()<kSquaredRelu, false, T>();
    case kSwiGlu:
      return body.template operator()<kSilu, true, T>();
    case kGeGlu:
      return body.template operator()<kGelu, true, T>();
    case kGeGluTanh:
      return body.template operator()<kGeluTanh, true, T>();
    case kQuickGeGlu:
      return body.template operator()<kQuickGelu, true, T>();
  }
}

template <typename Body>
void with_form(ActivationKind kind, DType dtype, Body body) {
  dtype == DType::kF32 ? with_kind<float>(kind, body) : with_kind<BF16>(kind, body);
}

}  // namespace

void activation_forward(const Stream&, const ActivationForwardArgs& args) {
  with_form(args.kind, args.y.dtype(), [&]<ActivationKind kind, bool gated, typename T>() {
    args.clamp > 0 ? forward<kind, gated, true, T>(args) : forward<kind, gated, false, T>(args);
  });
}

void activation_backward(const Stream&, const ActivationBackwardArgs& args) {
  with_form(args.kind, args.dy.dtype(), [&]<ActivationKind kind, bool gated, typename T>() {
    args.clamp > 0 ? backward<kind, gated, true, T>(args) : backward<kind, gated, false, T>(args);
  });
}

}  // namespace conclave::kernels::cpu
