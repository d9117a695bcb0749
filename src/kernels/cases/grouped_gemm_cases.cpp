#include "kernels/cases/performance_cases.h"
#include "kernels/grouped_gemm.h"

namespace conclave::kernels {
namespace {

struct ExpertLayer {
  const char* name;
  int64_t experts, mean_rows, n, k;
};

/// Row counts around the mean, as a router gives them: none a multiple of sixteen but by chance.
std::vector<double> uneven_offsets(const ExpertLayer& layer) {
  std::vector<double> offsets = {0};
  for (int64_t e = 0; e < layer.experts; ++e) {
    const int64_t swing = (e * 7) % 11 - 5;  // -5 .. 5
    offsets.push_back(offsets.back() + static_cast<double>(layer.mean_rows + swing * layer.mean_rows / 16));
  }
  return offsets;
}

void add_layer(std::vector<OpCase>& cases, DType dtype, const ExpertLayer& layer) {
  const std::vector<double> offsets = uneven_offsets(layer);
  const auto rows = static_cast<int64_t>(offsets.back());
  const Shape x{rows, layer.k}, y{rows, layer.n}, stack{layer.experts, layer.n, layer.k};
  const auto make = [&](const char* kind, std::function<void(const Stream&, const OpTensors&)> run) {
    OpCase op{fmt::format("{}_{}_{}", dtype_name(dtype), layer.name, kind), {}, std::move(run)};
    return op.input("offsets", DType::kI64, {layer.experts + 1}, values(offsets));
  };
  OpCase forward = make("forward", [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_forward(stream, {.x = t["x"], .weight = t["w"], .y = t["y"], .offsets = t["offsets"]});
  });
  forward.input("x", dtype, x, normal()).input("w", dtype, stack, normal()).output("y", dtype, y, {});
  cases.push_back(forward);
  OpCase input_gradient = make("dx", [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_input_gradient(stream, {.dy = t["dy"], .weight = t["w"], .dx = t["dx"], .offsets = t["offsets"]});
  });
  input_gradient.input("dy", dtype, y, normal()).input("w", dtype, stack, normal()).output("dx", dtype, x, {});
  cases.push_back(input_gradient);
  OpCase weight_gradient = make("dw", [](const Stream& stream, const OpTensors& t) {
    grouped_gemm_weight_gradient(stream, {.dy = t["dy"], .x = t["x"], .dweight = t["dw"], .offsets = t["offsets"]});
  });
  weight_gradient.input("dy", dtype, y, normal()).input("x", dtype, x, normal());
  cases.push_back(weight_gradient.in_out("dw", DType::kF32, stack, constant(0), {}));
}

}  // namespace

std::vector<OpCase> grouped_gemm_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_layer(cases, dtype, {"e16x256_fc1", 16, 256, 1024, 256});
    add_layer(cases, dtype, {"e16x256_fc2", 16, 256, 256, 512});
    add_layer(cases, dtype, {"e64x30_fc1", 64, 30, 1024, 256});
    add_layer(cases, dtype, {"e64x30_fc2", 64, 30, 256, 512});
  }
  return cases;
}

}  // namespace conclave::kernels
