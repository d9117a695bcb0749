#include "kernels/cases/performance_cases.h"
#include "kernels/gemm.h"

namespace conclave::kernels {
namespace {

/// The three products of a linear layer [rows, in] -> [rows, out].
void add_linear(std::vector<OpCase>& cases, const std::string& layer, DType dtype, Shape sizes) {
  const int64_t rows = sizes[0], in = sizes[1], out = sizes[2];
  const std::string stem = fmt::format("{}_{}_{}x{}x{}", dtype_name(dtype), layer, rows, in, out);
  OpCase forward{stem + "_forward", {}, [](const Stream& stream, const OpTensors& t) {
                   linear_forward(stream, t["x"], t["w"], {}, t["y"]);
                 }};
  forward.input("x", dtype, {rows, in}, normal()).input("w", dtype, {out, in}, normal());
  cases.push_back(forward.output("y", dtype, {rows, out}, {}));

  OpCase input_gradient{stem + "_dx", {}, [](const Stream& stream, const OpTensors& t) {
                          linear_input_gradient(stream, t["dy"], t["w"], t["dx"]);
                        }};
  input_gradient.input("dy", dtype, {rows, out}, normal()).input("w", dtype, {out, in}, normal());
  cases.push_back(input_gradient.output("dx", dtype, {rows, in}, {}));

  OpCase weight_gradient{stem + "_dw", {}, [](const Stream& stream, const OpTensors& t) {
                           linear_weight_gradient(stream, t["dy"], t["x"], t["dw"]);
                         }};
  weight_gradient.input("dy", dtype, {rows, out}, normal()).input("x", dtype, {rows, in}, normal());
  cases.push_back(weight_gradient.in_out("dw", DType::kF32, {out, in}, constant(0), {}));
}

}  // namespace

std::vector<OpCase> gemm_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_linear(cases, "qkv", dtype, {2048, 256, 768});
    add_linear(cases, "proj", dtype, {2048, 256, 256});
    add_linear(cases, "router", dtype, {2048, 256, 16});
    add_linear(cases, "square", dtype, {2048, 2048, 2048});
  }
  return cases;
}

}  // namespace conclave::kernels
