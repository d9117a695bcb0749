#include "kernels/cases/performance_cases.h"
#include "kernels/optimizer.h"

namespace conclave::kernels {

// Sixteen million parameters: far more than the caches hold.
std::vector<OpCase> optimizer_performance_cases() {
  constexpr int64_t kCount = int64_t{1} << 24;
  std::vector<OpCase> cases;
  for (const bool compute : {false, true}) {
    OpCase step{compute ? "adamw_with_bf16_copy_16M" : "adamw_16M", {}, [](const Stream& stream, const OpTensors& t) {
                  adamw(stream, {.weight = t["w"],
                                 .gradient = t["g"],
                                 .exp_avg = t["m"],
                                 .exp_avg_sq = t["v"],
                                 .compute = t.optional("compute"),
                                 .lr = 1e-3,
                                 .step = 10,
                                 .gradient_after = GradientAfter::kZero});
                }};
    for (const char* name : {"w", "g", "m", "v"}) step.in_out(name, DType::kF32, {kCount}, constant(0.5), {});
    if (compute) step.output("compute", DType::kBF16, {kCount}, {});
    cases.push_back(step);
  }
  OpCase norm{"square_sum_f32_16M", {}, [](const Stream& stream, const OpTensors& t) {
                square_sum(stream, {.x = t["x"], .out = t["out"]});
              }};
  norm.input("x", DType::kF32, {kCount}, constant(0.5)).output("out", DType::kF64, {1}, {});
  cases.push_back(norm);
  return cases;
}

}  // namespace conclave::kernels
