// The first bad value of a job's step: named by the rank that has it, whoever hears of it later.
#include "trainer/fault_finder.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/text.h"
#include "kernels/elementwise.h"
#include "trainer/job.h"
#include "trainer/small_models.h"
#include "trainer/small_runs.h"
#include "trainer/training_run.h"

namespace conclave {
namespace {

struct Poisoned {
  const char* layout;
  int64_t rank;  ///< whose weights are bad
  const char* parameter;
  const char* told;  ///< of the first bad value
};

// Every rank but one is sound until it hears from that one, which is never the first.
class FaultFinderOfJobs : public testing::TestWithParam<Poisoned> {};
INSTANTIATE_TEST_SUITE_P(
    Layouts, FaultFinderOfJobs,
    testing::Values(Poisoned{"--ranks-as-threads 2 --tensor-model-parallel-size 2 --sequence-parallel", 1,
                             "decoder.layers.2.self_attention.linear_qkv.weight",
                             "decoder.layers.2.self_attention.linear_qkv ["},
                    // Its gradients are bad on the first stage too, and that one is done with its forwards long before.
                    Poisoned{"--ranks-as-threads 2 --pipeline-model-parallel-size 2", 1,
                             "decoder.layers.3.mlp.router.weight", "decoder.layers.3.mlp.router.logits ["},
                    Poisoned{"--ranks-as-threads 2 --pipeline-model-parallel-size 2", 0,
                             "decoder.layers.1.mlp.linear_fc1.weight", "decoder.layers.1.mlp.linear_fc1 ["},
                    Poisoned{"--ranks-as-threads 2 --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall "
                             "--global-batch-size 8",
                             1, "decoder.layers.2.mlp.experts.linear_fc2.weight",
                             "decoder.layers.2.mlp.experts.linear_fc2 ["}));

TEST_P(FaultFinderOfJobs, NameTheRankThatIsFirst) {
  const Poisoned poisoned = GetParam();
  Words words = split_words(std::string(poisoned.layout));
  words.insert(words.end(), {"--mock-data", "--eval-iters", "0", "--progress", "off"});
  const ParsedOptions parsed = parse_command_line(Command::kTrain, small_moe_words(words));
  std::string first_told;
  for (int again = 0; again < 2; ++again) {
    try {
      run_job(parsed, [&](World& world, const ParsedOptions& options) {
        TrainingRun run(options, world);
        TrainingStore& store = run.engine().store();
        for (const Parameter* parameter : store.parameters()) {
          if (world.rank() != poisoned.rank || parameter->spec.name != poisoned.parameter) continue;
          const Weight weight(store, *parameter);
          kernels::fill(run.engine().device().default_stream(),
                        {.x = weight.tensor(), .value = std::numeric_limits<double>::quiet_NaN()});
        }
        return static_cast<int>(run.run());
      });
      FAIL() << "trained on";
    } catch (const ExitRequest& request) {
      const std::string told = request.what();
      EXPECT_EQ(request.code(), ExitCode::kResumeToDisambiguate) << told;
      EXPECT_TRUE(told.starts_with(fmt::format("rank {}: iteration 1: ", poisoned.rank))) << told;
      EXPECT_NE(told.find(std::string("First bad value: ") + poisoned.told), std::string::npos) << told;
      EXPECT_NE(told.find("(sound until "), std::string::npos) << told;
      if (again == 0) first_told = told;
      EXPECT_EQ(told, first_told);
    }
  }
}

class JobWithNaN : public SmallRuns {};

// As a user sees it: all ranks end together, with the code that the documents name.
TEST_F(JobWithNaN, EndsWithTheExitCodeOfOneProcess) {
  for (const char* layout : {"--tensor-model-parallel-size 2 --sequence-parallel", "--pipeline-model-parallel-size 2",
                             "--expert-model-parallel-size 2"}) {
    const std::string run = root_ + "/run";
    std::filesystem::remove_all(run);
    const std::string words = std::string(layout) +
                              " --ranks-as-threads 2 --lr 1e20 --lr-warmup-iters 0 --lr-decay-style constant "
                              "--clip-grad 0 --train-iters 30 --save " +
                              run + " --load " + run;
    EXPECT_EQ(train(words), 16) << layout << "\n" << output_;
    EXPECT_TRUE(printed("First bad value: decoder.layers.")) << output_;
    EXPECT_TRUE(printed("the state before this step is saved")) << output_;
    EXPECT_EQ(train(words), 17) << layout << "\n" << output_;
  }
}

}  // namespace
}  // namespace conclave
