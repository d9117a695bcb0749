#include "kernels/grouped_bias.h"

#include "kernels/op_check.h"
#include "kernels/ref/grouped_bias.h"

namespace conclave::kernels {
namespace {

CheckedCase forward_case(const std::string& name, DType dtype, std::vector<double> offsets, int64_t width,
                         bool weighted) {
  const auto experts = static_cast<int64_t>(offsets.size()) - 1;
  const auto rows = static_cast<int64_t>(offsets.back());
  OpCase op{.name = name, .buffers = {}, .run = [](const Stream& stream, const OpTensors& t) {
              grouped_bias_forward(
                  stream,
                  {.y = t["y"], .bias = t["bias"], .row_weight = t.optional("row_weight"), .offsets = t["offsets"]});
            }};
  op.in_out("y", dtype, {rows, width}, normal(), rounding(dtype)).input("bias", dtype, {experts, width}, normal());
  op.input("offsets", DType::kI64, {experts + 1}, values(offsets));
  if (weighted) op.input("row_weight", DType::kF32, {rows}, uniform());
  return {op, [experts, width](OpValues& v) {
            const auto offsets_list = v.as<int64_t>("offsets");
            ref::grouped_bias_forward<double>(v.data("y"), v.data("bias"), v.data("row_weight"), offsets_list.data(),
                                              experts, width);
          }};
}

CheckedCase backward_case(const std::string& name, DType dtype, std::vector<double> offsets, int64_t width) {
  const auto experts = static_cast<int64_t>(offsets.size()) - 1;
  const auto rows = static_cast<int64_t>(offsets.back());
  OpCase op{.name = name, .buffers = {}, .run = [](const Stream& stream, const OpTensors& t) {
              grouped_bias_backward(stream, {.dy = t["dy"],
                                             .bias = t["bias"],
                                             .row_weight = t["row_weight"],
                                             .offsets = t["offsets"],
                                             .dbias = t["dbias"],
                                             .drow_weight = t["drow_weight"]});
            }};
  op.input("dy", dtype, {rows, width}, normal())
      .input("bias", dtype, {experts, width}, normal())
      .input("row_weight", DType::kF32, {rows}, uniform());
  op.input("offsets", DType::kI64, {experts + 1}, values(offsets));
  op.in_out("dbias", DType::kF32, {experts, width}, normal(), sum_rounding(DType::kF32, rows + 1));
  op.in_out("drow_weight", DType::kF32, {rows}, normal(), sum_rounding(DType::kF32, width + 1));
  return {op, [experts, width](OpValues& v) {
            const auto offsets_list = v.as<int64_t>("offsets");
            ref::grouped_bias_backward<double>(v.data("dy"), v.data("bias"), v.data("row_weight"), offsets_list.data(),
                                               v.data("dbias"), v.data("drow_weight"), experts, width);
          }};
}

std::vector<CheckedCase> checks() {
  return {forward_case("forward_f32", DType::kF32, {0, 3, 3, 8}, 5, true),
          forward_case("forward_bf16", DType::kBF16, {0, 0, 7}, 33, true),
          forward_case("forward_plain", DType::kF32, {0, 1, 4}, 1, false),
          forward_case("forward_empty", DType::kF32, {0, 0, 0}, 4, true),
          backward_case("backward_f32", DType::kF32, {0, 3, 3, 8}, 5),
          backward_case("backward_bf16", DType::kBF16, {0, 6, 7}, 33),
          backward_case("backward_empty", DType::kF32, {0, 0, 0}, 4)};
}
INSTANTIATE_TEST_SUITE_P(GroupedBias, OpCheck, ::testing::ValuesIn(checks()), case_name);

std::vector<GradientCase> gradients() {
  static const std::vector<int64_t> kOffsets = {0, 2, 2, 5};
  GradientCase gradient;
  gradient.name = "weighted";
  gradient.inputs = {{"bias", 9, normal()}, {"row_weight", 5, uniform()}};
  gradient.outputs = {{"y", 15}};
  gradient.forward = [](OpValues& v) {
    ref::grouped_bias_forward<double>(v.data("y"), v.data("bias"), v.data("row_weight"), kOffsets.data(), 3, 3);
  };
  gradient.backward = [](OpValues& v) {
    ref::grouped_bias_backward<double>(v.data("dy"), v.data("bias"), v.data("row_weight"), kOffsets.data(),
                                       v.data("dbias"), v.data("drow_weight"), 3, 3);
  };
  return {gradient};
}
INSTANTIATE_TEST_SUITE_P(GroupedBias, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

}  // namespace
}  // namespace conclave::kernels
