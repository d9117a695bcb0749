#include "kernels/activation.h"

#include <cmath>

#include "kernels/op_check.h"
#include "kernels/ref/activation.h"

namespace conclave::kernels {
namespace {

constexpr ActivationKind kAll[] = {ActivationKind::kGelu,      ActivationKind::kGeluTanh, ActivationKind::kQuickGelu,
                                   ActivationKind::kSilu,      ActivationKind::kRelu,     ActivationKind::kSquaredRelu,
                                   ActivationKind::kSwiGlu,    ActivationKind::kGeGlu,    ActivationKind::kGeGluTanh,
                                   ActivationKind::kQuickGeGlu};

struct Setting {
  ActivationKind kind = ActivationKind::kSwiGlu;
  DType dtype = DType::kF32;
  int64_t rows = 1, width = 1;
  bool weighted = true;
  double clamp = 0, offset = 0;
  int64_t counted = -1;  // rows that take part, -1 = no row_count
  std::string name(const char* pass) const {
    return fmt::format("{}_{}_{}_{}x{}{}{}{}", pass, activation_name(kind), dtype_name(dtype), rows, width,
                       weighted ? "" : "_plain", clamp != 0 ? "_clamp" : "",
                       counted >= 0 ? fmt::format("_first{}", counted) : "");
  }
  int64_t x_width() const { return is_gated(kind) ? 2 * width : width; }
  int64_t active() const { return counted >= 0 ? counted : rows; }
  ref::Activation<double> reference(OpValues& v) const {
    ref::Activation<double> a{kind, active(), width, v.data("x"), v.data("row_weight"), clamp, offset};
    a.y = v.data("y");
    a.dy = v.data("dy");
    a.dx = v.data("dx");
    a.drow_weight = v.data("drow_weight");
    return a;
  }
};

// Rows beyond the count keep what stood there, so with a count the outputs are given ones.
void result(OpCase& op, const Setting& s, const char* name, DType dtype, Shape shape, Tolerance tolerance) {
  s.counted >= 0 ? op.in_out(name, dtype, shape, normal(), tolerance) : op.output(name, dtype, shape, tolerance);
}

OpCase with_inputs(const Setting& s, const char* pass) {
  OpCase op;
  op.name = s.name(pass);
  op.input("x", s.dtype, {s.rows, s.x_width()}, normal(0, 3));
  if (s.weighted) op.input("row_weight", DType::kF32, {s.rows}, uniform(-1, 1));
  if (s.counted >= 0) op.input("row_count", DType::kI64, {1}, constant(static_cast<double>(s.counted)));
  return op;
}

CheckedCase forward_case(const Setting& s) {
  CheckedCase checked;
  checked.op = with_inputs(s, "forward");
  result(checked.op, s, "y", s.dtype, {s.rows, s.width}, rounding(s.dtype, 8, 0.1));
  checked.op.run = [s](const Stream& stream, const OpTensors& t) {
    activation_forward(stream, {s.kind, t["x"], t["y"], t.optional("row_weight"), t.optional("row_count"),
                                static_cast<float>(s.clamp), static_cast<float>(s.offset)});
  };
  checked.reference = [s](OpValues& v) { ref::activation_forward(s.reference(v)); };
  return checked;
}

CheckedCase backward_case(const Setting& s) {
  CheckedCase checked;
  checked.op = with_inputs(s, "backward");
  checked.op.input("dy", s.dtype, {s.rows, s.width}, normal());
  result(checked.op, s, "dx", s.dtype, {s.rows, s.x_width()}, rounding(s.dtype, 8, 1));
  if (s.weighted) result(checked.op, s, "drow_weight", DType::kF32, {s.rows}, sum_rounding(DType::kF32, 4 * s.width));
  checked.op.run = [s](const Stream& stream, const OpTensors& t) {
    activation_backward(stream, {s.kind, t["dy"], t["x"], t["dx"], t.optional("row_weight"), t.optional("drow_weight"),
                                 t.optional("row_count"), static_cast<float>(s.clamp), static_cast<float>(s.offset)});
  };
  checked.reference = [s](OpValues& v) { ref::activation_backward(s.reference(v)); };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  const auto add = [&](const Setting& s) {
    out.push_back(forward_case(s));
    out.push_back(backward_case(s));
  };
  for (const ActivationKind kind : kAll) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      add({kind, dtype, 7, 37});
      add({kind, dtype, 3, 16, false});
      add({kind, dtype, 5, 48, true, 1.5, 1.0});
    }
  }
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add({ActivationKind::kSwiGlu, dtype, 0, 8});
    add({ActivationKind::kSwiGlu, dtype, 1, 1});
    add({ActivationKind::kSwiGlu, dtype, 100, 256});
    add({ActivationKind::kSwiGlu, dtype, 9, 20, true, 0, 0, 5});
    add({ActivationKind::kSwiGlu, dtype, 9, 20, true, 0, 0, 0});
  }
  return out;
}

// Normal values, none near 0 or ±`kink`: finite differences do not straddle a corner.
Fill away_from(double kink) {
  return [kink](int64_t count, std::string_view seed) {
    std::vector<double> list = normal(0, 1.3)(count, seed);
    for (double& value : list) {
      if (std::fabs(value) < 0.05) value += 0.1;
      if (std::fabs(std::fabs(value) - kink) < 0.05) value *= 1.2;
    }
    return list;
  };
}

GradientCase gradient_case(ActivationKind kind, double clamp) {
  const Setting s{kind, DType::kF64, 3, 5, true, clamp, 0.7};
  GradientCase gradient;
  gradient.name = fmt::format("{}{}", activation_name(kind), clamp > 0 ? "_clamp" : "");
  gradient.inputs = {{"x", s.rows * s.x_width(), away_from(0.8)}, {"row_weight", s.rows, normal()}};
  gradient.outputs = {{"y", s.rows * s.width}};
  gradient.forward = [s](OpValues& v) { ref::activation_forward(s.reference(v)); };
  gradient.backward = [s](OpValues& v) { ref::activation_backward(s.reference(v)); };
  return gradient;
}

std::vector<GradientCase> gradients() {
  std::vector<GradientCase> out;
  for (const ActivationKind kind : kAll) {
    out.push_back(gradient_case(kind, 0));
    out.push_back(gradient_case(kind, 0.8));
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Activation, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Activation, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

// Values far out, where naive forms lose their digits or turn to NaN.
TEST(Activation, TailsKeepTheirDigits) {
  const std::vector<double> far = {-1e30, -200, -90, -20, -9, -6, -5, -4, 4, 9, 20, 90, 200, 1e18};
  const auto device = make_device("cpu");
  const int64_t count = static_cast<int64_t>(far.size());
  const auto tensor = [&] { return Tensor::empty(*device, {1, count}, DType::kF32, {}); };
  const Tensor x = tensor(), y = tensor(), dy = tensor(), dx = tensor();
  write_values(x, far);
  write_values(dy, std::vector<double>(far.size(), 1.0));
  for (const ActivationKind kind : kAll) {
    if (is_gated(kind)) continue;
    activation_forward(device->default_stream(), {kind, x, y});
    activation_backward(device->default_stream(), {kind, dy, x, dx});
    const std::vector<double> got = read_values(y), slope = read_values(dx);
    for (size_t i = 0; i < far.size(); ++i) {
      const auto want = ref::activation<double>(kind, static_cast<double>(static_cast<float>(far[i])));
      if (std::fabs(want.value) > 3.4e38) continue;
      // The exponent's own rounding grows with it; GELU's is compensated.
      const double relative = kind == ActivationKind::kGelu ? 1e-6 : 1e-5;
      EXPECT_NEAR(got[i], want.value, relative * std::fabs(want.value) + 1e-36) << activation_name(kind) << far[i];
      EXPECT_NEAR(slope[i], want.slope, 2e-5 * std::fabs(want.slope) + 1e-34) << activation_name(kind) << far[i];
    }
  }
}

}  // namespace
}  // namespace conclave::kernels
