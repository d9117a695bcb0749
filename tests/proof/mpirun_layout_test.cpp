// The user's proof by the program itself, as processes under mpirun: `conclave verify-layout`.
#include <gtest/gtest.h>

#include "base/text.h"
#include "comm/launched_jobs.h"
#include "proof/layout_cases.h"

namespace conclave::proof {
namespace {

// Of the table that runs as threads, and two of 16 ranks.
std::vector<LayoutCase> launched_cases() {
  std::vector<LayoutCase> cases;
  for (const LayoutCase& layout : layout_cases()) {
    for (const char* name : {"dp4_overlap", "tp2_etp1_ep2", "ep3_of_6", "ep4_flex", "hybridep_ep4", "pp2_vpp2",
                             "pp3_vpp2_in_turns", "cp4_both", "cp4_kinds_by_layer", "tp2_cp2_pp2_ep2", "latent_pp2_ep2",
                             "prediction_pp2", "mapping_tp2_pp2_ep2"}) {
      if (layout.name == name) cases.push_back(layout);
    }
  }
  cases.push_back({"tp2_cp2_pp2_dp2_ep4", 16,
                   split_words("--tensor-model-parallel-size 2 --sequence-parallel --context-parallel-size 2 "
                               "--pipeline-model-parallel-size 2 --expert-model-parallel-size 4 "
                               "--expert-tensor-parallel-size 1 --moe-token-dispatcher-type alltoall "
                               "--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather")});
  cases.push_back({"pp4_tp2_ep4", 16,
                   split_words("--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 4 "
                               "--expert-model-parallel-size 4 --expert-tensor-parallel-size 1 "
                               "--moe-token-dispatcher-type flex --ranks-per-node 4 --use-distributed-optimizer")});
  return cases;
}

// Brackets stand in some words.
std::string quoted(const Words& words) {
  std::string text;
  for (const std::string& word : words) text += " '" + word + "'";
  return text;
}

class LaunchedLayout : public ::testing::TestWithParam<LayoutCase> {
 protected:
  void SetUp() override {
    if (const std::string why = launch_obstacle(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(LaunchedLayout, TrainsTheModelOfOneProcess) {
  const LayoutCase& test = GetParam();
  const Job job = run_mpirun(fmt::format("-np {} {} verify-layout{} --train-iters 2 --check-collectives", test.ranks,
                                         CONCLAVE_BINARY, quoted(words_of(test))));
  EXPECT_EQ(job.exit_code, 0) << job.output;
  EXPECT_EQ(occurrences(job.output, "the layout trains the same model"), 1) << job.output;
}

INSTANTIATE_TEST_SUITE_P(Table, LaunchedLayout, ::testing::ValuesIn(launched_cases()),
                         [](const auto& layout) { return layout.param.name; });

// The exit code tells too.
TEST(LaunchedLayouts, TellsOfALayoutThatDoesNot) {
  if (const std::string why = launch_obstacle(); !why.empty()) GTEST_SKIP() << why;
  LayoutCase sinkhorn{"sinkhorn", 2, split_words("--tensor-model-parallel-size 2 --sequence-parallel"),
                      split_words("--moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0")};
  const Job job = run_mpirun(fmt::format("-np 2 {} verify-layout{}", CONCLAVE_BINARY, quoted(words_of(sinkhorn))));
  EXPECT_EQ(job.exit_code, 1) << job.output;
  EXPECT_EQ(occurrences(job.output, "NOT the same"), 1) << job.output;
}

}  // namespace
}  // namespace conclave::proof
