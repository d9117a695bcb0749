#include "kernels/grouped_gemm.h"

#include <numeric>

#include "kernels/gemm.h"
#include "kernels/op_check.h"
#include "kernels/ref/grouped_gemm.h"

namespace conclave::kernels {
namespace {

struct Layer {
  std::string name;
  std::vector<int64_t> counts;  ///< rows of each expert
  int64_t n = 0, k = 0;
  int64_t free_rows = 0;  ///< rows beyond the last expert's
  int64_t experts() const { return static_cast<int64_t>(counts.size()); }
  int64_t rows() const { return std::accumulate(counts.begin(), counts.end(), free_rows); }
  std::vector<double> offsets() const {
    std::vector<double> out = {0};
    for (const int64_t count : counts) out.push_back(out.back() + static_cast<double>(count));
    return out;
  }
};

ref::GroupSizes sizes_of(const Layer& layer, const std::vector<int64_t>& offsets) {
  return {layer.experts(), layer.n, layer.k, offsets.data()};
}

OpCase start(const Layer& layer, DType dtype, const char* kind) {
  OpCase op{fmt::format("{}_{}_{}", kind, dtype_name(dtype), layer.name), {}, {}};
  return op.input("offsets", DType::kI64, {layer.experts() + 1}, values(layer.offsets()));
}

CheckedCase forward_case(const Layer& layer, DType dtype, bool bias) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op = start(layer, dtype, bias ? "forward_bias" : "forward");
  op.input("x", dtype, {layer.rows(), layer.k}, normal());
  op.input("w", dtype, {layer.experts(), layer.n, layer.k}, normal());
  if (bias) op.input("bias", dtype, {layer.experts(), layer.n}, normal());
  op.in_out("y", dtype, {layer.rows(), layer.n}, normal(), sum_rounding(dtype, layer.k + 1));
  op.run = [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_forward(
        stream, {.x = t["x"], .weight = t["w"], .y = t["y"], .offsets = t["offsets"], .bias = t.optional("bias")});
  };
  checked.reference = [layer](OpValues& v) {
    const std::vector<int64_t> offsets = v.as<int64_t>("offsets");
    ref::grouped_forward(sizes_of(layer, offsets), v.data("x"), v.data("w"), v.data("bias"), v.data("y"));
  };
  return checked;
}

CheckedCase input_gradient_case(const Layer& layer, DType dtype) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op = start(layer, dtype, "dx");
  op.input("dy", dtype, {layer.rows(), layer.n}, normal());
  op.input("w", dtype, {layer.experts(), layer.n, layer.k}, normal());
  op.in_out("dx", dtype, {layer.rows(), layer.k}, normal(), sum_rounding(dtype, layer.n));
  op.run = [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_input_gradient(stream, {.dy = t["dy"], .weight = t["w"], .dx = t["dx"], .offsets = t["offsets"]});
  };
  checked.reference = [layer](OpValues& v) {
    const std::vector<int64_t> offsets = v.as<int64_t>("offsets");
    ref::grouped_input_gradient(sizes_of(layer, offsets), v.data("dy"), v.data("w"), v.data("dx"));
  };
  return checked;
}

CheckedCase weight_gradient_case(const Layer& layer, DType dtype, bool bias) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op = start(layer, dtype, bias ? "dw_bias" : "dw");
  op.input("dy", dtype, {layer.rows(), layer.n}, normal());
  op.input("x", dtype, {layer.rows(), layer.k}, normal());
  const Tolerance tolerance = sum_rounding(DType::kF32, layer.rows());
  op.in_out("dw", DType::kF32, {layer.experts(), layer.n, layer.k}, normal(), tolerance);
  if (bias) op.in_out("dbias", DType::kF32, {layer.experts(), layer.n}, normal(), tolerance);
  op.run = [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_weight_gradient(
        stream,
        {.dy = t["dy"], .x = t["x"], .dweight = t["dw"], .offsets = t["offsets"], .dbias = t.optional("dbias")});
  };
  checked.reference = [layer](OpValues& v) {
    const std::vector<int64_t> offsets = v.as<int64_t>("offsets");
    ref::grouped_weight_gradient(sizes_of(layer, offsets), v.data("dy"), v.data("x"), v.data("dw"), v.data("dbias"));
  };
  return checked;
}

std::vector<CheckedCase> grouped_checks() {
  const std::vector<Layer> layers = {{"odd", {5, 17, 0, 33, 1}, 19, 23, 0},
                                     {"whole_steps", {16, 32, 48}, 32, 16, 0},
                                     {"free_rows", {3, 29, 16}, 24, 40, 30},
                                     {"all_in_the_last", {0, 0, 0, 70}, 16, 8, 5},
                                     {"all_in_the_first", {70, 0, 0, 0}, 16, 8, 0},
                                     {"no_rows", {0, 0}, 4, 8, 3},
                                     {"nothing", {0, 0}, 4, 8, 0},
                                     {"one_row", {0, 1, 0}, 7, 5, 0},
                                     {"more_than_a_block", {530, 9}, 16, 12, 0},
                                     {"sliced", {37, 70}, 512, 12, 0},
                                     {"many", {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3}, 8, 8, 2}};
  std::vector<CheckedCase> out;
  for (const Layer& layer : layers) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const bool bias : {false, true}) {
        out.push_back(forward_case(layer, dtype, bias));
        out.push_back(weight_gradient_case(layer, dtype, bias));
      }
      out.push_back(input_gradient_case(layer, dtype));
    }
  }
  return out;
}

GradientCase grouped_gradient() {
  static const Layer layer{"small", {2, 0, 3}, 3, 4, 1};
  static const std::vector<int64_t> offsets = {0, 2, 2, 5};
  GradientCase gradient;
  gradient.name = "experts";
  gradient.inputs = {{"x", layer.rows() * layer.k, normal()},
                     {"w", layer.experts() * layer.n * layer.k, normal()},
                     {"bias", layer.experts() * layer.n, normal()}};
  gradient.outputs = {{"y", layer.rows() * layer.n}};
  gradient.forward = [](OpValues& v) {
    ref::grouped_forward(sizes_of(layer, offsets), v.data("x"), v.data("w"), v.data("bias"), v.data("y"));
  };
  gradient.backward = [](OpValues& v) {
    ref::grouped_input_gradient(sizes_of(layer, offsets), v.data("dy"), v.data("w"), v.data("dx"));
    ref::grouped_weight_gradient(sizes_of(layer, offsets), v.data("dy"), v.data("x"), v.data("dw"), v.data("dbias"));
  };
  return gradient;
}

INSTANTIATE_TEST_SUITE_P(Grouped, OpCheck, ::testing::ValuesIn(grouped_checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Grouped, GradientCheck, ::testing::Values(grouped_gradient()), gradient_name);

TEST(GroupedGemm, NewRowCountsMakeNoNewPrimitives) {
  const auto device = make_device("cpu");
  const Stream stream = device->default_stream();
  const MemoryTag tag{MemoryCategory::kActivations, "test"};
  constexpr int64_t kRows = 700, kExperts = 3, kN = 16, kK = 8;
  const auto zeros = [&](Shape shape, DType dtype) {
    const Tensor tensor = Tensor::empty(*device, shape, dtype, tag);
    write_values(tensor, std::vector<double>(static_cast<size_t>(tensor.element_count()), 0.0));
    return tensor;
  };
  const Tensor x = zeros({kRows, kK}, DType::kF32), y = zeros({kRows, kN}, DType::kF32);
  const Tensor w = zeros({kExperts, kN, kK}, DType::kF32), dw = zeros({kExperts, kN, kK}, DType::kF32);
  const Tensor offsets = zeros({kExperts + 1}, DType::kI64);
  const auto step = [&](int64_t first, int64_t second) {
    write_values(offsets, {0, static_cast<double>(first), static_cast<double>(first + second), kRows});
    grouped_gemm_forward(stream, {.x = x, .weight = w, .y = y, .offsets = offsets});
    grouped_gemm_input_gradient(stream, {.dy = y, .weight = w, .dx = x, .offsets = offsets});
    grouped_gemm_weight_gradient(stream, {.dy = y, .x = x, .dweight = dw, .offsets = offsets});
  };
  const int64_t before = gemm_primitives_created();
  step(1, 2);
  const int64_t made = gemm_primitives_created();
  EXPECT_GT(made, before);
  for (int64_t first = 0; first < 640; first += 3) step(first, (first * 7) % 60);
  EXPECT_EQ(gemm_primitives_created(), made);
}

TEST(GroupedGemm, RefusesOffsetsThatLeaveTheRows) {
  const auto device = make_device("cpu");
  const MemoryTag tag{MemoryCategory::kActivations, "test"};
  const Tensor x = Tensor::empty(*device, {5, 4}, DType::kF32, tag),
               w = Tensor::empty(*device, {2, 3, 4}, DType::kF32, tag);
  const Tensor y = Tensor::empty(*device, {5, 3}, DType::kF32, tag),
               offsets = Tensor::empty(*device, {3}, DType::kI64, tag);
  for (const std::vector<double>& bad : {std::vector<double>{0, 3, 6}, {0, 4, 3}, {1, 2, 3}}) {
    write_values(offsets, bad);
    EXPECT_THROW(grouped_gemm_forward(device->default_stream(), {.x = x, .weight = w, .y = y, .offsets = offsets}),
                 InternalError);
  }
}

}  // namespace
}  // namespace conclave::kernels
