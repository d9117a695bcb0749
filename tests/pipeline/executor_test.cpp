// A pipeline gives the losses and gradients of one process, whatever the schedule, placement and message timing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/failure.h"
#include "pipeline/pipeline_ranks.h"

namespace conclave {
namespace {

// The same model and batches in one process.
PipelineOutcome in_one_process(PipelineCase test) {
  static const Words kPlacement = {
      "--pipeline-model-parallel-layout",       "--num-layers-per-virtual-pipeline-stage",
      "--num-virtual-stages-per-pipeline-rank", "--decoder-first-pipeline-num-layers",
      "--decoder-last-pipeline-num-layers",     "--microbatch-group-size-per-virtual-pipeline-stage"};
  Words words;
  for (size_t i = 0; i < test.words.size(); ++i) {
    if (std::find(kPlacement.begin(), kPlacement.end(), test.words[i]) != kPlacement.end()) {
      ++i;
    } else if (test.words[i].rfind("--account-for", 0) != 0) {
      words.push_back(test.words[i]);
    }
  }
  test.words = words;
  test.ranks = test.tensor = 1;
  test.sequence = false;
  test.weight_gradients = WeightGradientTiming::kWithBackward;
  test.full_recompute = {};
  test.recompute_modules = {};
  return run_pipeline(test);
}

// Sums of the two stages' parts of a shared table are made in another order here than in one process.
void expect_near(const std::string& name, const std::vector<float>& a, const std::vector<float>& b,
                 float tolerance = 1e-6f) {
  ASSERT_EQ(a.size(), b.size()) << name;
  float largest = 0;
  for (const float value : a) largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 0.0f) << name;
  for (size_t i = 0; i < a.size(); ++i) ASSERT_LE(std::abs(a[i] - b[i]), tolerance * largest) << name << " at " << i;
}

class Pipeline : public testing::TestWithParam<PipelineCase> {};

TEST_P(Pipeline, EqualsOneProcess) {
  const PipelineOutcome one = in_one_process(GetParam());
  PipelineCase test = GetParam();
  PipelineOutcome between, early;
  between = run_pipeline(test);
  test.messages = MessageTiming::kEarly;
  early = run_pipeline(test);
  for (const PipelineOutcome& outcome : {between, early}) {
    EXPECT_TRUE(outcome.clean);
    EXPECT_TRUE(outcome.losses == one.losses);
    EXPECT_TRUE(outcome.evaluations == one.evaluations);
    ASSERT_EQ(outcome.gradients.size(), one.gradients.size());
    for (const auto& [name, values] : one.gradients) {
      ASSERT_TRUE(outcome.gradients.contains(name)) << name;
      const bool tied = std::find(outcome.tied.begin(), outcome.tied.end(), name) != outcome.tied.end();
      expect_near(name, values, outcome.gradients.at(name));
      EXPECT_TRUE(tied || values == outcome.gradients.at(name)) << name;
    }
  }
  EXPECT_TRUE(between.gradients == early.gradients);
}

using enum WeightGradientTiming;
const Words kTied = {"--no-untie-embeddings-and-output-weights"};

std::vector<PipelineCase> cases() {
  const FullRecompute full{FullRecompute::Method::kUniform, 1};
  const Words two_chunks = {"--num-virtual-stages-per-pipeline-rank", "2"};
  const Words eight = {"--num-layers", "8", "--moe-layer-freq", "[1,0,1,1,0,1,1,0]"};
  const auto with = [](Words a, const Words& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const Words layout2 = {
      "--pipeline-model-parallel-layout", "Et|ttt|t|L", "--num-layers", "5", "--moe-layer-freq", "1"};
  std::vector<PipelineCase> list = {
      {.name = "PP2", .ranks = 2},
      {.name = "PP4", .ranks = 4, .micro_batches = 6},
      {.name = "PP3Uneven",
       .ranks = 3,
       .words = {"--decoder-first-pipeline-num-layers", "1", "--decoder-last-pipeline-num-layers", "1"},
       .micro_batches = 5},
      {.name = "PP4FewerMicroBatches", .ranks = 4, .micro_batches = 2},
      {.name = "PP4OneMicroBatch", .ranks = 4, .micro_batches = 1},
      {.name = "PP2AfterBackward", .ranks = 2, .weight_gradients = kAfterBackward},
      {.name = "PP2Last", .ranks = 2, .weight_gradients = kLast},
      {.name = "PP2FullRecompute", .ranks = 2, .full_recompute = full},
      {.name = "PP2Selective", .ranks = 2, .recompute_modules = {"core_attn", "moe_act", "layernorm"}},
      {.name = "PP2VPP2", .ranks = 2, .words = two_chunks},
      {.name = "PP2VPP2Group3",
       .ranks = 2,
       .words = with(two_chunks, {"--microbatch-group-size-per-virtual-pipeline-stage", "3"}),
       .micro_batches = 5},
      {.name = "PP2VPP2LastRecompute",
       .ranks = 2,
       .words = two_chunks,
       .weight_gradients = kLast,
       .full_recompute = full},
      {.name = "PP4VPP2",
       .ranks = 4,
       .words = with(two_chunks, eight),
       .micro_batches = 8,
       .weight_gradients = kAfterBackward},
      {.name = "PP2VPP4", .ranks = 2, .words = with({"--num-layers-per-virtual-pipeline-stage", "1"}, eight)},
      {.name = "PP2Layout", .ranks = 2, .words = layout2},
      {.name = "PP2LayoutEmptyStages", .ranks = 2, .words = {"--pipeline-model-parallel-layout", "Ett||tt|L"}},
      {.name = "PP2EmptyFirstStage", .ranks = 2, .words = {"--pipeline-model-parallel-layout", "|EttttL"}},
      {.name = "PP3NothingAtTheEnds", .ranks = 3, .words = {"--pipeline-model-parallel-layout", "|Ett|ttL"}},
      {.name = "PP2Accounted",
       .ranks = 2,
       .words = {"--account-for-embedding-in-pipeline-split", "--account-for-loss-in-pipeline-split"}},
      {.name = "PP2LearnedPositions", .ranks = 2, .words = {"--position-embedding-type", "learned_absolute"}},
      {.name = "PP2Tied", .ranks = 2, .words = kTied},
      {.name = "PP4TiedFewerMicroBatches", .ranks = 4, .words = kTied, .micro_batches = 3},
      {.name = "PP2VPP2Tied", .ranks = 2, .words = with(two_chunks, kTied), .weight_gradients = kAfterBackward},
      {.name = "PP2TiedOnOneRank", .ranks = 2, .words = with(kTied, {"--pipeline-model-parallel-layout", "|EttttL"})},
      {.name = "PP2TiedPredictions", .ranks = 2, .words = with(kTied, {"--mtp-num-layers", "1"})},
      {.name = "PP2Predictions", .ranks = 2, .words = {"--mtp-num-layers", "2"}},
      {.name = "PP2VPP2Predictions",
       .ranks = 2,
       .words = with(two_chunks, {"--mtp-num-layers", "1"}),
       .weight_gradients = kLast},
  };
  return list;
}

INSTANTIATE_TEST_SUITE_P(Cases, Pipeline, testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

// Products are summed in another order under TP.
TEST(PipelineWithTensorParallelism, EqualsOneProcess) {
  const Words tied_chunks = {"--num-virtual-stages-per-pipeline-rank", "2", "--no-untie-embeddings-and-output-weights"};
  for (PipelineCase test :
       {PipelineCase{.name = "TP2", .ranks = 2, .dense = true, .tensor = 2},
        PipelineCase{.name = "SP", .ranks = 2, .dense = true, .tensor = 2, .sequence = true},
        PipelineCase{.name = "VPP", .ranks = 2, .words = tied_chunks, .dense = true, .tensor = 2, .sequence = true}}) {
    const PipelineOutcome one = in_one_process(test);
    for (const MessageTiming messages : {MessageTiming::kBetween, MessageTiming::kEarly}) {
      test.messages = messages;
      const PipelineOutcome outcome = run_pipeline(test);
      EXPECT_TRUE(outcome.clean);
      for (size_t i = 0; i < one.losses.size(); ++i) expect_near(test.name, one.losses[i], outcome.losses[i], 1e-5f);
      ASSERT_EQ(outcome.gradients.size(), one.gradients.size());
      for (const auto& [name, values] : one.gradients)
        expect_near(test.name + " " + name, values, outcome.gradients.at(name), 1e-5f);
    }
  }
}

// The simulator's communicator answers with shapes: a rank alone takes the memory that it takes among others.
TEST(PipelineSim, PeakOfARankEqualsTheMeasuredOneWithinOnePercent) {
  const Words chunks = {"--num-virtual-stages-per-pipeline-rank", "2"};
  for (PipelineCase test : {PipelineCase{.name = "PP4", .ranks = 4, .dense = true},
                            PipelineCase{.name = "VPP", .ranks = 2, .words = chunks, .dense = true},
                            PipelineCase{.name = "SP", .ranks = 2, .dense = true, .tensor = 2, .sequence = true}}) {
    for (const MessageTiming messages : {MessageTiming::kBetween, MessageTiming::kEarly}) {
      test.messages = messages;
      const std::vector<PipelineOutcome> real = run_pipeline_ranks(test);
      for (size_t rank = 0; rank < real.size(); ++rank) {
        const PipelineOutcome simulated = simulate_rank(test, static_cast<int64_t>(rank));
        EXPECT_GT(real[rank].peak, 0);
        EXPECT_LE(std::abs(simulated.peak - real[rank].peak), real[rank].peak / 100)
            << test.name << " rank " << rank << ": " << simulated.peak << " and " << real[rank].peak;
      }
    }
  }
}

TEST(PipelineFaults, OneRankThatThrowsEndsAll) {
  for (const MessageTiming messages : {MessageTiming::kBetween, MessageTiming::kEarly}) {
    PipelineCase test{
        .name = "", .ranks = 3, .words = {"--num-layers", "3", "--moe-layer-freq", "1"}, .messages = messages};
    test.fails_on = 1;
    try {
      run_pipeline(test);
      FAIL() << "the failure was lost";
    } catch (const UserError& error) {
      EXPECT_STREQ(error.what(), "rank 1: this batch is bad");
    }
  }
}

TEST(PipelineFaults, MergedStepsAreRefusedByName) {
  const auto device = make_device("cpu");
  StepExecutor executor({nullptr}, {.stream = device->default_stream()});
  const PipelinePlan plan = plan_pipeline({.shape = {1, 1, 2, 0, true}, .span = whole_span(1, 1)});
  try {
    executor.run(plan.steps[0], {}, {});
    FAIL() << "a merged step was carried out";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("--overlap-moe-expert-parallel-comm"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("FB1/0"), std::string::npos);
  }
}

TEST(PipelineFaults, TooFewMicroBatchesForChunksAreRefused) {
  PipelinePart part{.rank = 0, .ranks = 4, .chunks = 2, .span = whole_span(4, 2)};
  try {
    training_actions(part, 3);
    FAIL() << "too few micro-batches were accepted";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("--microbatch-group-size-per-virtual-pipeline-stage"), std::string::npos);
  }
  EXPECT_FALSE(evaluation_actions(part, 3).empty());
}

TEST(PipelineFaults, PlacementsThatCutATieAreRefused) {
  PipelineCase test{.name = "", .ranks = 3, .words = kTied};
  test.words.insert(test.words.end(), {"--pipeline-model-parallel-layout", "|Ett|ttL"});
  const Options options = pipeline_options(test);
  const LayerPlacement placement = place_layers(placement_args(options));
  EXPECT_THROW(check_placement(make_model_spec(options, 40), placement), UserError);
  test.words = {"--pipeline-model-parallel-layout", "|Ett|ttL"};
  EXPECT_NO_THROW(check_placement(make_model_spec(pipeline_options(test), 40), placement));
  test = {.name = "", .ranks = 2, .words = {"--mtp-num-layers", "1", "--position-embedding-type", "learned_absolute"}};
  const Options learned = pipeline_options(test);
  EXPECT_THROW(check_placement(make_model_spec(learned, 40), place_layers(placement_args(learned))), UserError);
  test.words = {"--mtp-num-layers", "1", "--pipeline-model-parallel-layout", "Ettt|tm|t|L"};
  test.words.insert(test.words.end(), {"--num-layers", "5", "--moe-layer-freq", "1"});
  EXPECT_THROW(
      {
        const Options apart = pipeline_options(test);
        check_placement(make_model_spec(apart, 40), place_layers(placement_args(apart)));
      },
      UserError);
}

TEST(StageMessages, ShapeIsThisRanksShareOfTheSequence) {
  BatchInfo batch;
  batch.batch = 3;
  batch.sequence_length = 8;
  ModelPart part;
  part.tensor = {1, 4};
  EXPECT_EQ(hidden_shape(part, batch, 5), (Shape{8, 3, 5}));
  part.sequence_parallel = true;
  EXPECT_EQ(hidden_shape(part, batch, 5), (Shape{2, 3, 5}));
}

}  // namespace
}  // namespace conclave
