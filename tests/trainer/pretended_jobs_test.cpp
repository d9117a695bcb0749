// Large jobs, one rank at a time: what people type, and what they get wrong.
#include <sys/resource.h>

#include <cstdlib>

#include "config/guide_script.h"
#include "trainer/dry_run.h"
#include "trainer/small_models.h"
#include "trainer/small_runs.h"

namespace conclave {
namespace {

bool full_form() { return std::getenv("CONCLAVE_TEST_FULL") != nullptr; }

class PretendedJobs : public SmallRuns {
 protected:
  int fake(const std::string& words, const std::string& environment = "") {
    return shell(environment + " " +
                 conclave("train --fake-process-group" + std::string(kSmallModel) +
                          " --vocab-size 64 --lr 1e-3 --train-iters 4 " + words));
  }
  int plan(const std::string& words) { return shell(conclave("plan " + words)); }
};

// The script's arrays, word for word: data, checkpoints and the tokenizer it names are not there.
RankReport guide_rank(int64_t rank) {
  Words words = guide_script();
  for (const std::string& word : split_words("--vocab-size 32000 --fake-init-process-group --world-size 32"))
    words.push_back(word);
  return dry_run(pretended_job(parse_command_line(Command::kTrain, words)), rank);
}

TEST(GuideScriptJob, RunsAsAnyOfItsRanks) {
  const std::vector<int64_t> some = {0, 7, 13, 24, 31};
  int64_t first = 0;
  for (int64_t rank = 0; rank < 32; ++rank) {
    if (!full_form() && std::find(some.begin(), some.end(), rank) == some.end()) continue;
    const RankReport report = guide_rank(rank);
    EXPECT_EQ(report.stage, rank / 8);
    // 8 of 32 layers with one of 8 experts, in bf16: a quarter of the attention, and of the tables at both ends.
    const double layer = 4096.0 * 4096 * 2.5 + 3 * 4096.0 * 14336 + 8 * 4096 + 2 * 4096;
    const double table = report.stage == 0 || report.stage == 3 ? 32000 * 4096.0 : 0;
    const auto weights = static_cast<double>(report.memory.category_peak[0]);
    EXPECT_NEAR(weights, 2 * (8 * layer + table), 0.001 * weights) << rank;
    // 16 micro-batches of 4096 tokens: 6 FLOPs a weight and token, two experts a token.
    const double active = 8 * (layer + 3 * 4096.0 * 14336) + (report.stage == 3 ? table : 0);
    EXPECT_GT(report.step.flops, 6 * active * 16 * 4096) << rank;
    EXPECT_LT(report.step.flops, 1.2 * 6 * active * 16 * 4096) << rank;
    if (rank == 0) first = report.memory.peak_total;
    if (rank == 7) {
      EXPECT_EQ(report.memory.peak_total, first) << "ranks of a stage are alike";
    }
    if (report.stage > 0) {
      EXPECT_LT(report.memory.peak_total, first) << "the first stage holds the most micro-batches";
    }
  }
}

TEST(GuideScriptJob, TakesTheVocabularyFromTheTokenizerThatItNames) {
  Words words = guide_script();
  *(std::find(words.begin(), words.end(), "TOKENIZER_MODEL")) =
      CONCLAVE_GOLDEN_DIR "/tokenizer/sp_bpe_identity/tokenizer.model";
  for (const std::string& word : split_words("--fake-process-group --world-size 32")) words.push_back(word);
  EXPECT_LT(dry_run(parse_command_line(Command::kTrain, words), 0).memory.category_peak[0],
            guide_rank(0).memory.category_peak[0]);
  words = guide_script();
  for (const std::string& word : split_words("--fake-process-group --world-size 32")) words.push_back(word);
  try {
    dry_run(parse_command_line(Command::kTrain, words), 0);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(),
                 "--tokenizer-model 'TOKENIZER_MODEL' is not there, and nothing else tells the size of the vocabulary; "
                 "add --vocab-size N");
  }
}

TEST_F(PretendedJobs, LargeModelsFitALaptop) {
  const std::string models = CONCLAVE_SOURCE_DIR "/configs/models/";
  const std::string common = " --expert-tensor-parallel-size 1 --use-distributed-optimizer";
  ASSERT_EQ(plan("--config " + models +
                 "mixtral_8x22b.yaml --world-size 256 --pipeline-model-parallel-size 8"
                 " --expert-model-parallel-size 8" +
                 common),
            0)
      << output_;
  EXPECT_TRUE(printed("256 ranks, one of each pipeline stage"));
  EXPECT_TRUE(printed("layers 49-55, loss")) << output_;
  ASSERT_EQ(plan("--config " + models +
                 "deepseek_v3.yaml --world-size 1024 --pipeline-model-parallel-size 16"
                 " --expert-model-parallel-size 64 --decoder-first-pipeline-num-layers 3"
                 " --decoder-last-pipeline-num-layers 2 --global-batch-size 4096" +
                 common),
            0)
      << output_;
  EXPECT_TRUE(printed("embedding, layers 0-2")) << output_;
  EXPECT_TRUE(printed("layers 59-60, loss")) << output_;
  EXPECT_EQ(std::count(output_.begin(), output_.end(), '\n'), 2 + 1 + 16 + 1) << output_;
  rusage used{};
  ASSERT_EQ(::getrusage(RUSAGE_CHILDREN, &used), 0);
  EXPECT_LT(used.ru_maxrss, int64_t{4} << 20) << "KiB";
}

TEST_F(PretendedJobs, AWorldOfHalfAMillionRanksCostsNoMore) {
  ASSERT_EQ(fake("--world-size 524288 --rank 524287 --global-batch-size 524288 --micro-batch-size 1"
                 " --expert-model-parallel-size 4 --pipeline-model-parallel-size 2 --use-distributed-optimizer"),
            0)
      << output_;
  EXPECT_TRUE(printed("rank 524287 of 524288, pipeline stage 1: layer 1, loss")) << output_;
}

TEST_F(PretendedJobs, ReadsTheEnvironmentAndNeitherDataNorCheckpoints) {
  const std::string layout = " --global-batch-size 8 --pipeline-model-parallel-size 2";
  ASSERT_EQ(fake(layout + " --data-path /no/such/data --save " + root_ + "/run --load /no/such --tensorboard-dir " +
                     root_ + "/run/tb --save-interval 1",
                 "RANK=3 WORLD_SIZE=4"),
            0)
      << output_;
  EXPECT_TRUE(printed("rank 3 of 4, pipeline stage 1")) << output_;
  EXPECT_TRUE(printed("activations")) << output_;
  EXPECT_TRUE(printed("TFLOP in a step")) << output_;
  EXPECT_FALSE(std::filesystem::exists(root_ + "/run"));
  // The command line wins.
  ASSERT_EQ(fake(layout + " --rank 0", "RANK=3 WORLD_SIZE=4"), 0) << output_;
  EXPECT_TRUE(printed("rank 0 of 4")) << output_;
}

TEST_F(PretendedJobs, MistakesAreToldWithTheirCure) {
  const auto refused = [this](int code, const std::string& text) {
    EXPECT_EQ(code, 2) << output_;
    EXPECT_TRUE(printed(text)) << output_;
  };
  refused(fake(""), "neither --world-size nor WORLD_SIZE of the environment is given; add --world-size N");
  refused(fake("", "WORLD_SIZE=many"),
          "WORLD_SIZE of the environment must be a whole number up to a million; got 'many'");
  refused(fake("--world-size 4 --rank 4 --global-batch-size 8"),
          "--rank must be below --world-size; got 4 and 4; choose from 0 to 3");
  refused(fake("--rank 9 --global-batch-size 8", "WORLD_SIZE=4"), "--rank must be below --world-size; got 9 and 4");
  refused(fake("--world-size 3 --pipeline-model-parallel-size 2"),
          "the number of ranks must be divisible by tensor * context * pipeline size; got 3 ranks and 2");
  refused(fake("--world-size 2 --device cpu"), "--fake-process-group runs on the device sim; got --device cpu");
  refused(fake("--world-size 2 --ranks-as-threads 2"), "--fake-process-group is one rank alone");
  refused(fake("--world-size 2 --moe-routing-imbalance zipf:x"), "--moe-routing-imbalance takes balanced, zipf:ALPHA");
  refused(fake("--world-size 2 --moe-routing-trace-path " + root_ + "/trace"), "needs routers that choose");
  refused(train("--world-size 2"), "add that, or start the ranks: mpirun -np 2, or --ranks-as-threads 2");
  refused(train("--rank 1"), "--rank is for a job that is not there");
  refused(train("--device sim --ranks-as-threads 2"), "use --fake-process-group --world-size 2");
  refused(train("--moe-routing-imbalance zipf:1"), "drop it, or add --fake-process-group");
  EXPECT_EQ(fake("--world-size 2 --moe-routing-imbalance " + root_ + "/none"), 1);
  EXPECT_TRUE(printed("give one that --moe-routing-trace-path wrote")) << output_;
}

}  // namespace
}  // namespace conclave
