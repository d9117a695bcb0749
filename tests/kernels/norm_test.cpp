#include "kernels/norm.h"

#include "kernels/op_check.h"
#include "kernels/ref/norm.h"

namespace conclave::kernels {
namespace {

enum class Extra { kNone, kInference, kNoWeightGradient, kAdd };

std::string kind_name(NormKind kind) { return kind == NormKind::kRms ? "rms" : "layer"; }

struct Setting {
  NormKind kind = NormKind::kRms;
  DType dtype = DType::kF32;
  int64_t rows = 1, width = 1;
  double offset = 0;
  Extra extra = Extra::kNone;
  std::string name(const char* pass) const {
    return fmt::format("{}_{}_{}_{}x{}{}{}", pass, kind_name(kind), dtype_name(dtype), rows, width,
                       offset != 0 ? "_1p" : "", extra == Extra::kNone ? "" : fmt::format("_x{}", int(extra)));
  }
};

CheckedCase forward_case(const Setting& s) {
  const bool layer = s.kind == NormKind::kLayer, statistics = s.extra != Extra::kInference;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name("forward");
  op.input("x", s.dtype, {s.rows, s.width}, normal(0.5, 2)).input("weight", s.dtype, {s.width}, normal(1, 0.3));
  if (layer) op.input("bias", s.dtype, {s.width}, normal());
  op.output("y", s.dtype, {s.rows, s.width}, rounding(s.dtype, 4, 8));
  if (layer && statistics) op.output("mean", DType::kF32, {s.rows}, rounding(DType::kF32, 8, 4));
  if (statistics) op.output("rstd", DType::kF32, {s.rows}, rounding(DType::kF32, 8));
  op.run = [s](const Stream& stream, const OpTensors& t) {
    norm_forward(stream, {s.kind, t["x"], t["weight"], t.optional("bias"), t["y"], t.optional("mean"),
                          t.optional("rstd"), 1e-5, static_cast<float>(s.offset)});
  };
  checked.reference = [s](OpValues& v) {
    ref::norm_forward<double>({s.kind, s.rows, s.width, v.data("x"), v.data("weight"), v.data("bias"), v.data("y"),
                               v.data("mean"), v.data("rstd"), 1e-5, s.offset});
  };
  return checked;
}

CheckedCase backward_case(const Setting& s) {
  const bool layer = s.kind == NormKind::kLayer, add = s.extra == Extra::kAdd;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name("backward");
  op.input("dy", s.dtype, {s.rows, s.width}, normal()).input("x", s.dtype, {s.rows, s.width}, normal(0.5, 2));
  op.input("weight", s.dtype, {s.width}, normal(1, 0.3)).input("rstd", DType::kF32, {s.rows}, uniform(0.3, 0.7));
  if (layer) op.input("mean", DType::kF32, {s.rows}, normal(0.5, 0.1));
  const Tolerance tolerance = rounding(s.dtype, 4, 16);
  if (add) op.input("residual", s.dtype, {s.rows, s.width}, normal());
  op.output("dx", s.dtype, {s.rows, s.width}, tolerance);
  if (s.extra != Extra::kNoWeightGradient) {
    op.in_out("dweight", DType::kF32, {s.width}, normal(), sum_rounding(DType::kF32, s.rows));
    if (layer) op.in_out("dbias", DType::kF32, {s.width}, normal(), sum_rounding(DType::kF32, s.rows));
  }
  op.run = [s](const Stream& stream, const OpTensors& t) {
    norm_backward(stream,
                  {s.kind, t["dy"], t["x"], t["weight"], t.optional("mean"), t["rstd"], t["dx"], t.optional("dweight"),
                   t.optional("dbias"), static_cast<float>(s.offset), t.optional("residual")});
  };
  checked.reference = [s](OpValues& v) {
    if (v.has("residual")) v["dx"] = v["residual"];
    ref::norm_backward<double>({s.kind, s.rows, s.width, v.data("dy"), v.data("x"), v.data("weight"), v.data("mean"),
                                v.data("rstd"), v.data("dx"), v.data("dweight"), v.data("dbias"), s.offset});
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const auto& [rows, width] :
           {std::pair<int64_t, int64_t>{1, 1}, {0, 8}, {3, 5}, {7, 33}, {70, 16}, {300, 256}}) {
        out.push_back(forward_case({kind, dtype, rows, width}));
        out.push_back(backward_case({kind, dtype, rows, width}));
      }
      out.push_back(forward_case({kind, dtype, 9, 40, 1}));
      out.push_back(backward_case({kind, dtype, 9, 40, 1}));
      out.push_back(forward_case({kind, dtype, 9, 40, 0, Extra::kInference}));
      out.push_back(backward_case({kind, dtype, 9, 40, 0, Extra::kNoWeightGradient}));
      out.push_back(backward_case({kind, dtype, 9, 40, 0, Extra::kAdd}));
    }
  }
  out.push_back(backward_case({NormKind::kRms, DType::kF32, 20000, 8}));  // blocks of more than 64 rows
  return out;
}

GradientCase gradient_case(NormKind kind) {
  constexpr int64_t kRows = 3, kWidth = 7;
  GradientCase gradient;
  gradient.name = kind_name(kind);
  gradient.inputs = {{"x", kRows * kWidth, normal()}, {"weight", kWidth, normal()}};
  if (kind == NormKind::kLayer) gradient.inputs.push_back({"bias", kWidth, normal()});
  gradient.outputs = {{"y", kRows * kWidth}};
  const auto run = [kind](OpValues& v, std::vector<double>& y, std::vector<double>& mean, std::vector<double>& rstd) {
    ref::norm_forward<double>({kind, kRows, kWidth, v.data("x"), v.data("weight"), v.data("bias"), y.data(),
                               kind == NormKind::kLayer ? mean.data() : nullptr, rstd.data(), 1e-5, 1});
  };
  gradient.forward = [run](OpValues& v) {
    std::vector<double> mean(kRows), rstd(kRows);
    run(v, v["y"], mean, rstd);
  };
  gradient.backward = [run, kind](OpValues& v) {
    std::vector<double> y(kRows * kWidth), mean(kRows), rstd(kRows);
    run(v, y, mean, rstd);
    ref::norm_backward<double>({kind, kRows, kWidth, v.data("dy"), v.data("x"), v.data("weight"), mean.data(),
                                rstd.data(), v.data("dx"), v.data("dweight"), v.data("dbias"), 1});
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(Norm, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Norm, GradientCheck,
                         ::testing::Values(gradient_case(NormKind::kRms), gradient_case(NormKind::kLayer)),
                         gradient_name);

TEST(Norm, NamesAWrongShape) {
  const auto device = make_device("cpu");
  const auto tensor = [&](Shape shape) { return Tensor::empty(*device, shape, DType::kF32, {}); };
  try {
    norm_forward(device->default_stream(), {NormKind::kRms, tensor({2, 3}), tensor({4}), {}, tensor({2, 3})});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("[kernels/norm_forward] weight must be f32 [3]; got f32 [4]"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace conclave::kernels
