// A dry run says what a rank of the real job holds: the same trainer, the same books.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>

#include "base/text.h"
#include "comm/world.h"
#include "config/parse.h"
#include "trainer/dry_run.h"
#include "trainer/training_run.h"

namespace conclave {
namespace {

using Words = std::vector<std::string>;

constexpr const char* kModel =
    "--num-layers 4 --hidden-size 64 --num-attention-heads 8 --seq-length 64 --ffn-hidden-size 128 "
    "--moe-ffn-hidden-size 96 --num-experts 8 --moe-router-topk 2 --moe-layer-freq [0,1,1,1] --moe-aux-loss-coeff 0.01 "
    "--swiglu --disable-bias-linear --normalization RMSNorm --position-embedding-type rope "
    "--untie-embeddings-and-output-weights --attention-dropout 0.1 --hidden-dropout 0.1 --micro-batch-size 2 "
    "--global-batch-size 16 --train-iters 4 --lr 1e-3 --eval-iters 0 --log-interval 100 --progress off --mock-data "
    "--vocab-size 300 --exit-interval 2";

struct DryRunCase {
  std::string name;
  int64_t ranks = 1;
  std::string words;
  bool traced = true;  ///< else nothing that routing decides differs: a padded capacity
};
void operator<<(std::ostream& out, const DryRunCase& test) { out << test.name; }

ParsedOptions parsed(const std::string& words) {
  return parse_command_line(Command::kTrain, split_words(std::string(kModel) + " " + words));
}

class Folder {
 public:
  Folder()
      : path_((std::filesystem::temp_directory_path() / ("conclave_trace_" + std::to_string(::getpid()))).string()) {
    std::filesystem::remove_all(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What each rank held, as threads.
std::vector<MemoryStatistics> measured(const std::string& words, int64_t ranks) {
  std::vector<MemoryStatistics> out(static_cast<size_t>(ranks));
  run_ranks_as_threads({.ranks = ranks, .settings = {.timeout_seconds = 120}}, [&](World& world) {
    ParsedOptions options = parsed(words);
    options.options.parallel.world_size = ranks;
    TrainingRun run(options, world);
    run.run();
    out[static_cast<size_t>(world.rank())] = run.engine().device().allocator().statistics();
  });
  return out;
}

RankReport simulated(const std::string& words, int64_t ranks, int64_t rank) {
  return dry_run(parsed(words + " --fake-process-group --world-size " + std::to_string(ranks)), rank);
}

class DryRun : public ::testing::TestWithParam<DryRunCase> {};

TEST_P(DryRun, PeakIsThatOfEveryRealRank) {
  const DryRunCase& test = GetParam();
  const Folder trace;
  const std::string writes = test.traced ? " --moe-routing-trace-path " + trace.path() : "";
  const std::string reads = test.traced ? " --moe-routing-imbalance " + trace.path() : "";
  const std::vector<MemoryStatistics> real = measured(test.words + writes, test.ranks);
  for (int64_t rank = 0; rank < test.ranks; ++rank) {
    const MemoryStatistics& held = real[static_cast<size_t>(rank)];
    const RankReport said = simulated(test.words + reads, test.ranks, rank);
    // To the byte: it is the same program, and one percent would hide what it forgets.
    EXPECT_EQ(said.memory.peak_total, held.peak_total) << "rank " << rank;
    for (size_t i = 0; i < kMemoryCategoryCount; ++i) {
      EXPECT_EQ(said.memory.category_peak[i], held.category_peak[i])
          << "rank " << rank << ", " << memory_category_name(static_cast<MemoryCategory>(i));
    }
  }
}

const std::string kTp2 = " --tensor-model-parallel-size 2 --sequence-parallel";
const std::string kEp2 = " --expert-model-parallel-size 2";
const std::string kEp4 = " --expert-model-parallel-size 4";
const std::string kPp2 = " --pipeline-model-parallel-size 2";
const std::string kCp2 = " --context-parallel-size 2";
const std::string kZero = " --use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather";
const std::string kAllToAll = " --moe-token-dispatcher-type alltoall";
const std::string kFlex = " --moe-token-dispatcher-type flex --ranks-per-node 2";
const std::string kHybrid = kFlex + " --moe-flex-dispatcher-backend hybridep";
const std::string kPadded = " --moe-expert-capacity-factor 1.5 --moe-pad-expert-input-to-capacity";
const std::string kDropping = " --moe-expert-capacity-factor 0.9";
const std::string kCp4Both =
    " --context-parallel-size 4 --cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2";
const std::string kShared = " --moe-shared-expert-intermediate-size 32 --moe-shared-expert-overlap";
const std::string kLatent =
    " --multi-latent-attention --q-lora-rank 16 --kv-lora-rank 16 --qk-head-dim 8 --qk-pos-emb-head-dim 4 --v-head-dim "
    "8";
const std::string kWholeLayers = " --recompute-granularity full --recompute-method uniform --recompute-num-layers 1";

INSTANTIATE_TEST_SUITE_P(
    Layouts, DryRun,
    ::testing::Values(
        DryRunCase{"one", 1, ""}, DryRunCase{"tp2", 2, kTp2}, DryRunCase{"pp2", 2, kPp2}, DryRunCase{"cp2", 2, kCp2},
        DryRunCase{"dp2_zero", 2, kZero}, DryRunCase{"ep2_gather", 2, kEp2},
        DryRunCase{"ep2_alltoall", 2, kEp2 + kAllToAll}, DryRunCase{"ep4_flex", 4, kEp4 + kFlex},
        DryRunCase{"ep4_hybrid", 4, kEp4 + kHybrid}, DryRunCase{"ep4_gather_dropping", 4, kEp4 + kDropping},
        DryRunCase{"ep4_alltoall_dropping", 4, kEp4 + kAllToAll + kDropping},
        DryRunCase{"ep4_flex_dropping", 4, kEp4 + kFlex + kDropping},
        DryRunCase{"ep2_alltoall_padded", 2, kEp2 + kAllToAll + kPadded, false},
        DryRunCase{"ep4_gather_padded", 4, kEp4 + kPadded, false},
        DryRunCase{"tp2_etp2_ep2", 4, kTp2 + kEp2 + kAllToAll},
        DryRunCase{"tp2_etp1_ep2_pp2", 4, kTp2 + kEp2 + kPp2 + kAllToAll + " --expert-tensor-parallel-size 1"},
        DryRunCase{"ep2_pp2_zero_bf16", 4, kEp2 + kPp2 + kZero + kAllToAll + " --bf16"},
        DryRunCase{"cp2_ep4_zero_recompute", 4,
                   kCp2 + kEp4 + kZero + kAllToAll +
                       " --recompute-granularity selective --recompute-modules moe_act layernorm"},
        DryRunCase{"cp4_both", 4, kCp4Both}, DryRunCase{"cp2_gather", 2, kCp2 + " --cp-comm-type all_gather"},
        DryRunCase{"ep2_shared_overlap", 2, kEp2 + kAllToAll + kShared},
        DryRunCase{"tp2_ep2_latent_full_recompute", 4, kTp2 + kEp2 + kLatent + kWholeLayers},
        DryRunCase{"pp2_prediction", 2, kPp2 + " --mtp-num-layers 1 --pipeline-model-parallel-layout Ett|ttmL"},
        DryRunCase{"dp4_instances", 4, kZero + " --num-distributed-optimizer-instances 2"},
        DryRunCase{"dp2_per_token_sgd", 2, " --calculate-per-token-loss --optimizer sgd"},
        DryRunCase{"tp4_gqa_dropping", 4,
                   " --tensor-model-parallel-size 4 --sequence-parallel --group-query-attention --num-query-groups 2" +
                       kDropping},
        DryRunCase{"pp2_chunks_flex", 4, kPp2 + kEp2 + kFlex + " --num-layers-per-virtual-pipeline-stage 1"}),
    [](const auto& tested) { return tested.param.name; });

// Products are shared out, not made twice; what ranks repeat are norms and the router.
TEST(DryRunFlops, RanksTogetherDoTheWorkOfOne) {
  const double one = simulated("", 1, 0).step.flops;
  for (const auto& [ranks, words] :
       {std::pair<int64_t, std::string>{4, kTp2 + kPp2},
        {4, kEp4 + kAllToAll},
        {4, kCp2 + kEp2 + kZero},
        {8, kTp2 + kPp2 + kEp4 + kAllToAll + kZero + " --expert-tensor-parallel-size 1"}}) {
    double all = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) all += simulated(words, ranks, rank).step.flops;
    EXPECT_NEAR(all, one, 0.02 * one) << words;
  }
}

TEST(DryRunSteps, TheSecondStepIsAsAllLaterOnes) {
  const std::string words = kTp2 + kPp2 + kZero;
  const RankReport two = simulated(words, 8, 7), five = simulated(words + " --exit-interval 5 --train-iters 9", 8, 7);
  EXPECT_EQ(two.memory.peak_total, five.memory.peak_total);
  EXPECT_EQ(two.step.flops, five.step.flops);
  ASSERT_EQ(two.traffic.size(), five.traffic.size());
  for (size_t i = 0; i < two.traffic.size(); ++i)
    EXPECT_EQ(two.traffic[i].bytes_sent, five.traffic[i].bytes_sent) << two.traffic[i].group;
}

TEST(DryRunImbalance, LoadsTheFirstExpertsMost) {
  const std::string words = kEp4 + kAllToAll + " --moe-routing-imbalance ";
  const auto peak = [&](const std::string& load, int64_t rank) {
    return simulated(words + load, 4, rank).memory.peak_total;
  };
  EXPECT_EQ(peak("balanced", 0), peak("balanced", 3));
  EXPECT_GT(peak("zipf:1", 0), peak("zipf:0.5", 0));
  EXPECT_GT(peak("zipf:0.5", 0), peak("balanced", 0));
  EXPECT_LT(peak("zipf:1", 3), peak("balanced", 3));
}

}  // namespace
}  // namespace conclave
