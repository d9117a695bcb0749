#include "kernels/cases/performance_cases.h"
#include "kernels/cross_entropy.h"

namespace conclave::kernels {
namespace {

OpCase head_case(DType dtype, int64_t chunk_rows) {
  constexpr int64_t kRows = 2048, kWidth = 256, kVocabulary = 8192;
  OpCase op{fmt::format("{}_2048x256x8192_chunk{}", dtype_name(dtype), chunk_rows),
            {},
            [chunk_rows](const Stream& stream, const OpTensors& t) {
              linear_cross_entropy(stream, {.hidden = t["hidden"],
                                            .weight = t["weight"],
                                            .labels = t["labels"],
                                            .loss = t["loss"],
                                            .row_weight = t["row_weight"],
                                            .dhidden = t["dhidden"],
                                            .dweight = t["dweight"],
                                            .chunk_rows = chunk_rows});
            }};
  op.input("hidden", dtype, {kRows, kWidth}, normal()).input("weight", dtype, {kVocabulary, kWidth}, normal(0, 0.02));
  op.input("labels", DType::kI32, {kRows}, integers(0, kVocabulary));
  op.input("row_weight", DType::kF32, {kRows}, constant(1.0 / kRows));
  op.output("loss", DType::kF32, {kRows}, {}).output("dhidden", dtype, {kRows, kWidth}, {});
  return op.in_out("dweight", DType::kF32, {kVocabulary, kWidth}, constant(0), {});
}

}  // namespace

std::vector<OpCase> cross_entropy_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const int64_t chunk_rows : {0, 64, 128, 512}) cases.push_back(head_case(dtype, chunk_rows));
  return cases;
}

}  // namespace conclave::kernels
