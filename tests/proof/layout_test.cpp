#include <gtest/gtest.h>

#include "comm/world.h"
#include "config/validate.h"
#include "proof/layout_cases.h"
#include "proof/layout_check.h"

namespace conclave::proof {
namespace {

class Layout : public ::testing::TestWithParam<LayoutCase> {};

TEST_P(Layout, TrainsTheModelOfOneProcess) {
  const LayoutCase& test = GetParam();
  const Options options = checked_options(parsed_case(test), Command::kTrain);
  TrainingTrace one;
  // One thread, like every rank: others wait for the machine at every loop if something else runs there.
  run_ranks_as_threads({}, [&](World&) { one = trace_one_process(options, kLayoutVocab, kLayoutSteps); });
  std::vector<LayoutReport> reports(static_cast<size_t>(test.ranks));
  run_ranks_as_threads({.ranks = test.ranks, .settings = {.check_collectives = true, .timeout_seconds = 120}},
                       [&](World& world) {
                         reports[static_cast<size_t>(world.rank())] = check_layout(options, kLayoutVocab, world, one);
                       });
  for (const LayoutReport& report : reports) {
    EXPECT_EQ(report.fault(), "");
    EXPECT_EQ(report.gradients.size(), one.gradients.size());
    EXPECT_EQ(report.losses, reports[0].losses);  // the same bits on every rank
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Layout, ::testing::ValuesIn(layout_cases()),
                         [](const auto& layout) { return layout.param.name; });

TEST(LayoutCheck, FindsAGradientThatDiffers) {
  const Options options = checked_options(parsed_case({"one", 1, {}}), Command::kTrain);
  TrainingTrace one = trace_one_process(options, kLayoutVocab, 1);
  const auto world = make_self_world();
  EXPECT_EQ(check_layout(options, kLayoutVocab, *world, one).fault(), "");
  one.gradients["decoder.layers.1.mlp.router.weight"][3] += 1;
  const std::string fault = check_layout(options, kLayoutVocab, *world, one).fault();
  EXPECT_NE(fault.find("decoder.layers.1.mlp.router.weight"), std::string::npos) << fault;
}

}  // namespace
}  // namespace conclave::proof
