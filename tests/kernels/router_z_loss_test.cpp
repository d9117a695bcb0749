// z-loss and its gradient.
#include "kernels/router_z_loss.h"

#include "kernels/op_check.h"
#include "kernels/ref/router_z_loss.h"

namespace conclave::kernels {
namespace {

struct ZShape {
  std::string name;
  int64_t tokens, experts;
  DType dtype = DType::kF32;
  int padding = 0;  // 0 none, 1 some, 2 all
  Fill logits = normal();
  double mean_over = 0;  // > 0: given
};

std::vector<ZShape> shapes() {
  return {
      {"f32", 33, 8},
      {"f32_large", 600, 65},
      {"f32_padding", 33, 8, DType::kF32, 1},
      {"all_padding", 12, 8, DType::kF32, 2},
      {"no_tokens", 0, 8},
      {"one_expert", 5, 1},
      {"big_logits", 20, 8, DType::kF32, 0, normal(0, 100)},
      {"f64", 33, 8, DType::kF64},
      {"bf16", 33, 8, DType::kBF16},
      {"bf16_padding", 33, 8, DType::kBF16, 1},
      {"f32_of_more", 33, 8, DType::kF32, 1, normal(), 100},
      {"f64_of_more", 33, 8, DType::kF64, 0, normal(), 70},
  };
}

Tolerance tolerance_of(DType dtype, double scale) {
  if (dtype == DType::kF64) return {1e-13, 1e-14 * scale};
  // In bf16 a loss goes through eight roundings.
  if (dtype == DType::kBF16) return rounding(DType::kBF16, 8, scale);
  return rounding(DType::kF32, 32, scale);
}

Fill padding_fill(int kind) { return kind == 2 ? constant(1) : integers(0, 2); }

ref::ZLoss<double> reference_of(const ZShape& shape, OpValues& v, const std::vector<uint8_t>& padding) {
  ref::ZLoss<double> out;
  out.tokens = shape.tokens;
  out.expert_count = shape.experts;
  out.coefficient = 0.1;
  out.logits = v.data("logits");
  out.mean_over = shape.mean_over;
  out.padding = padding.empty() ? nullptr : padding.data();
  return out;
}

std::vector<uint8_t> padding_of(OpValues& v) {
  return v.has("padding") ? v.as<uint8_t>("padding") : std::vector<uint8_t>();
}

CheckedCase forward_case(const ZShape& shape) {
  const double size = shape.name == "big_logits" ? 1e4 : 4;
  CheckedCase checked;
  checked.op.name = shape.name;
  checked.op.input("logits", shape.dtype, {shape.tokens, shape.experts}, shape.logits);
  if (shape.padding != 0) checked.op.input("padding", DType::kU8, {shape.tokens}, padding_fill(shape.padding));
  if (shape.mean_over > 0) checked.op.input("mean_over", DType::kF64, {1}, constant(shape.mean_over));
  checked.op.output("loss", DType::kF64, {1}, tolerance_of(shape.dtype, size))
      .in_out("logged", DType::kF64, {1}, constant(2), tolerance_of(shape.dtype, size));
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    z_loss(stream, {.coefficient = 0.1,
                    .logits = t["logits"],
                    .padding = t.optional("padding"),
                    .mean_over = t.optional("mean_over"),
                    .loss = t["loss"],
                    .logged = t["logged"]});
  };
  checked.reference = [shape](OpValues& v) {
    const std::vector<uint8_t> padding = padding_of(v);
    v["loss"][0] = ref::z_loss(reference_of(shape, v, padding));
    v["logged"][0] += v["loss"][0] / 0.1;
  };
  return checked;
}

CheckedCase backward_case(const ZShape& shape) {
  const Shape rows{shape.tokens, shape.experts};
  CheckedCase checked;
  checked.op.name = shape.name + "_backward";
  checked.op.input("logits", shape.dtype, rows, shape.logits);
  if (shape.padding != 0) checked.op.input("padding", DType::kU8, {shape.tokens}, padding_fill(shape.padding));
  if (shape.mean_over > 0) checked.op.input("mean_over", DType::kF64, {1}, constant(shape.mean_over));
  Tolerance tolerance = tolerance_of(shape.dtype, 4);
  if (shape.dtype == DType::kBF16) tolerance = rounding(DType::kBF16, 1.2);
  checked.op.in_out("dlogits", shape.dtype, rows, normal(), tolerance);
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    z_loss_backward(stream, {.coefficient = 0.1,
                             .gradient_scale = 0.5,
                             .logits = t["logits"],
                             .padding = t.optional("padding"),
                             .dlogits = t["dlogits"],
                             .mean_over = t.optional("mean_over")});
  };
  checked.reference = [shape](OpValues& v) {
    const std::vector<uint8_t> padding = padding_of(v);
    ref::ZLoss<double> reference = reference_of(shape, v, padding);
    reference.coefficient *= 0.5;
    reference.dlogits = v.data("dlogits");
    ref::z_loss_backward(reference);
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const ZShape& shape : shapes()) {
    out.push_back(forward_case(shape));
    out.push_back(backward_case(shape));
  }
  return out;
}

std::vector<GradientCase> gradients() {
  std::vector<GradientCase> out;
  for (const ZShape& shape : shapes()) {
    if (shape.dtype != DType::kF64) continue;
    GradientCase gradient;
    gradient.name = shape.name;
    gradient.inputs = {{"logits", shape.tokens * shape.experts, normal()}};
    gradient.outputs = {{"loss", 1}};
    gradient.forward = [shape](OpValues& v) { v["loss"][0] = ref::z_loss(reference_of(shape, v, {})); };
    gradient.backward = [shape](OpValues& v) {
      ref::ZLoss<double> reference = reference_of(shape, v, {});
      reference.coefficient *= v["dloss"][0];
      reference.dlogits = v.data("dlogits");
      ref::z_loss_backward(reference);
    };
    out.push_back(gradient);
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(RouterZLoss, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(RouterZLoss, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

}  // namespace
}  // namespace conclave::kernels
