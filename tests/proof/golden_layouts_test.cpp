// The golden models in parallel layouts: Megatron's and Transformers' own numbers, reached by ranks that are threads.
#include <gtest/gtest.h>

#include "base/text.h"
#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

struct GoldenLayout {
  const char* name;
  const char* words;
  int models;        ///< cases of golden/model that the layout fits and that do not depend on it
  int hugging_face;  ///< of golden/hf
};

void PrintTo(const GoldenLayout& layout, std::ostream* out) { *out << layout.name; }

class GoldenLayouts : public testing::TestWithParam<GoldenLayout> {
 protected:
  ParsedOptions layout() const { return parse_command_line(Command::kParity, split(GetParam().words, ' ')); }
  static void expect_none_failed(const GoldenReport& report) {
    for (const GoldenNote& note : report.failed) ADD_FAILURE() << note.name << ": " << note.text;
  }
};

constexpr GoldenLayout kLayouts[] = {
    {"Tensor2Sequence", "--ranks-as-threads 2 --tensor-model-parallel-size 2 --sequence-parallel", 10, 11},
    {"Pipeline2", "--ranks-as-threads 2 --pipeline-model-parallel-size 2", 11, 10},
    {"Expert2", "--ranks-as-threads 2 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall", 9, 7},
    {"Context2", "--ranks-as-threads 2 --context-parallel-size 2", 11, 11},
    {"Data2Sharded", "--ranks-as-threads 2 --use-distributed-optimizer", 11, 11},
    {"Folded4",
     "--ranks-as-threads 4 --tensor-model-parallel-size 2 --sequence-parallel --expert-model-parallel-size 4 "
     "--expert-tensor-parallel-size 1 --moe-token-dispatcher-type flex",
     5, 6},
    {"Tensor2Context2",
     "--ranks-as-threads 4 --tensor-model-parallel-size 2 --sequence-parallel --context-parallel-size 2 "
     "--moe-token-dispatcher-type alltoall",
     10, 11},
};
INSTANTIATE_TEST_SUITE_P(All, GoldenLayouts, testing::ValuesIn(kLayouts),
                         [](const auto& layout) { return std::string(layout.param.name); });

TEST_P(GoldenLayouts, ReachMegatronsSteps) {
  const GoldenReport report = golden_model(CONCLAVE_GOLDEN_DIR "/model", layout()).front();
  expect_none_failed(report);
  EXPECT_EQ(report.passed, GetParam().models);
}

TEST_P(GoldenLayouts, ReachTransformersLogitsLossAndGradients) {
  const GoldenReport report = golden_hf(CONCLAVE_GOLDEN_DIR "/hf", layout()).front();
  expect_none_failed(report);
  EXPECT_EQ(report.passed, GetParam().hugging_face);
}

}  // namespace
}  // namespace conclave::proof
