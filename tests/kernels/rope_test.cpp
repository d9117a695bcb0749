#include "kernels/rope.h"

#include <cmath>

#include "kernels/op_check.h"
#include "kernels/ref/rope.h"

namespace conclave::kernels {
namespace {

struct Setting {
  DType dtype = DType::kF32;
  int64_t batch = 1, heads = 1, length = 1, size = 2, pairs = 1;
  bool interleaved = false, inverse = false;
  double scale = 1;
};

std::vector<double> usual_frequencies(int64_t pairs) {
  std::vector<double> out;
  for (int64_t i = 0; i < pairs; ++i)
    out.push_back(std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(pairs)));
  return out;
}

CheckedCase rope_case(const Setting& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("{}_{}{}_{}x{}x{}x{}_{}", dtype_name(s.dtype), s.interleaved ? "interleaved" : "halves",
                        s.inverse ? "_inverse" : "", s.batch, s.heads, s.length, s.size, s.pairs);
  op.in_out("x", s.dtype, {s.batch, s.heads, s.length, s.size}, normal(), rounding(s.dtype, 4, 8));
  op.input("positions", DType::kI32, {s.batch, s.length}, integers(0, 200000));
  op.input("frequencies", DType::kF32, {s.pairs}, values(usual_frequencies(s.pairs)));
  op.run = [s](const Stream& stream, const OpTensors& t) {
    rope(stream, {t["x"], t["positions"], t["frequencies"], s.interleaved, s.inverse, static_cast<float>(s.scale)});
  };
  checked.reference = [s](OpValues& v) {
    const auto positions = v.as<int32_t>("positions");
    const auto frequencies = v.as<float>("frequencies");
    ref::rope<double>({s.batch, s.heads, s.length, s.size, s.pairs, v.data("x"), positions.data(), frequencies.data(),
                       s.interleaved, s.inverse, s.scale});
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const bool interleaved : {false, true}) {
      out.push_back(rope_case({dtype, 1, 1, 1, 2, 1, interleaved}));
      out.push_back(rope_case({dtype, 2, 0, 3, 8, 4, interleaved}));
      out.push_back(rope_case({dtype, 2, 3, 5, 14, 5, interleaved}));  // part of the head rotates
      out.push_back(rope_case({dtype, 1, 2, 3, 10, 0, interleaved}));  // none of it
      out.push_back(rope_case({dtype, 2, 3, 70, 32, 16, interleaved, true}));
      out.push_back(rope_case({dtype, 1, 2, 33, 128, 64, interleaved, false, 1.25}));
      out.push_back(rope_case({dtype, 1, 1, 3, 80, 37, interleaved, true, 0.5}));
    }
  }
  return out;
}

GradientCase gradient_case(bool interleaved) {
  GradientCase gradient;
  gradient.name = interleaved ? "interleaved" : "halves";
  gradient.inputs = {{"x", 2 * 2 * 3 * 7, normal()}};
  gradient.outputs = {{"y", 2 * 2 * 3 * 7}};
  const auto turn = [interleaved](std::vector<double>& x, bool inverse) {
    const int32_t positions[] = {0, 1, 2, 5, 0, 900};
    const float frequencies[] = {1.0f, 0.1f, 0.01f};
    ref::rope<double>({2, 2, 3, 7, 3, x.data(), positions, frequencies, interleaved, inverse, 1.3});
  };
  gradient.forward = [turn](OpValues& v) {
    v["y"] = v["x"];
    turn(v["y"], false);
  };
  gradient.backward = [turn](OpValues& v) {
    v["dx"] = v["dy"];
    turn(v["dx"], true);
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(Rope, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Rope, GradientCheck, ::testing::Values(gradient_case(false), gradient_case(true)),
                         gradient_name);

}  // namespace
}  // namespace conclave::kernels
