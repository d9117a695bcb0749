#include "kernels/cases/performance_cases.h"
#include "kernels/elementwise.h"

namespace conclave::kernels {
namespace {

constexpr int64_t kRows = 2048, kWidth = 1024, kMany = int64_t{1} << 24;

void add_casts(std::vector<OpCase>& cases) {
  constexpr DType kPairs[][2] = {{DType::kF32, DType::kBF16}, {DType::kBF16, DType::kF32}, {DType::kF32, DType::kF32}};
  for (const auto& pair : kPairs) {
    OpCase op{fmt::format("cast_{}_{}_16M", dtype_name(pair[0]), dtype_name(pair[1])),
              {},
              [](const Stream& stream, const OpTensors& t) { cast(stream, {.x = t["x"], .y = t["y"]}); }};
    cases.push_back(op.input("x", pair[0], {kMany}, constant(1)).output("y", pair[1], {kMany}, {}));
  }
}

}  // namespace

std::vector<OpCase> elementwise_performance_cases() {
  std::vector<OpCase> cases;
  add_casts(cases);
  OpCase sums{"column_sum_bf16_2048x1024", {}, [](const Stream& stream, const OpTensors& t) {
                column_sum(stream, {.x = t["x"], .out = t["out"]});
              }};
  cases.push_back(
      sums.input("x", DType::kBF16, {kRows, kWidth}, normal()).in_out("out", DType::kF32, {kWidth}, constant(0), {}));
  OpCase add{"scale_add_f32_16M", {}, [](const Stream& stream, const OpTensors& t) {
               scale(stream, {.x = t["x"], .y = t["y"], .scale = 0.5, .accumulate = Accumulate::kAdd});
             }};
  cases.push_back(add.input("x", DType::kF32, {kMany}, constant(1)).in_out("y", DType::kF32, {kMany}, constant(0), {}));
  for (const RandomKind kind : {RandomKind::kNormal, RandomKind::kUniform}) {
    OpCase random{kind == RandomKind::kNormal ? "random_normal_16M" : "random_uniform_16M",
                  {},
                  [kind](const Stream& stream, const OpTensors& t) {
                    random_fill(stream, {.x = t["x"], .shard = ShardSpec::whole({kMany}), .kind = kind});
                  }};
    cases.push_back(random.output("x", DType::kF32, {kMany}, {}));
  }
  return cases;
}

}  // namespace conclave::kernels
