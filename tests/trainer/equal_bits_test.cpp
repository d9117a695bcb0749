// What must not change results does not change a single bit: recomputation, the order of work, repeating a step.
#include <gtest/gtest.h>

#include <limits>

#include "trainer/small_models.h"

namespace conclave {
namespace {

struct Outcome {
  std::vector<std::vector<float>> weights;
  std::vector<double> losses;
  int64_t peak = 0;
};

Outcome run(const Options& options, std::function<std::vector<StepAction>(int64_t)> schedule = nullptr) {
  const auto device = make_device("cpu");
  Engine engine(options, options.model.vocab_size, *device, true);
  if (schedule) engine.set_schedule(std::move(schedule));
  Outcome out;
  device->allocator().reset_peak();
  for (int64_t step = 0; step < 3; ++step) {
    const StepResult result = take_step(engine, options, step);
    out.losses.push_back(result.loss_sum);
    out.losses.push_back(result.gradient_norm);
  }
  out.peak = device->allocator().statistics().peak_total;
  out.weights = all_weights(engine);
  return out;
}

struct Variant {
  std::string name;
  Words words;
  bool lower_peak = true;
};

class Recompute : public ::testing::TestWithParam<Variant> {};

TEST_P(Recompute, GivesTheSameBitsAndALowerPeak) {
  const Words extra = {"--moe-router-enable-expert-bias", "--moe-router-score-function", "sigmoid", "--seq-length",
                       "64"};
  Words words = extra;
  words.insert(words.end(), GetParam().words.begin(), GetParam().words.end());
  const Outcome plain = run(small_moe(extra)), recomputed = run(small_moe(words));
  EXPECT_EQ(plain.losses, recomputed.losses);
  EXPECT_EQ(plain.weights, recomputed.weights);
  EXPECT_LT(recomputed.peak, plain.peak);
}

INSTANTIATE_TEST_SUITE_P(
    Modules, Recompute,
    ::testing::Values(
        Variant{"core_attn", {"--recompute-granularity", "selective", "--recompute-modules", "core_attn"}},
        Variant{"moe_act", {"--recompute-granularity", "selective", "--recompute-modules", "moe_act"}},
        Variant{"layernorm", {"--recompute-granularity", "selective", "--recompute-modules", "layernorm"}},
        Variant{"moe", {"--recompute-granularity", "selective", "--recompute-modules", "moe"}},
        Variant{"shared_experts", {"--recompute-granularity", "selective", "--recompute-modules", "shared_experts"}},
        Variant{"mlp_and_others",
                {"--recompute-granularity", "selective", "--recompute-modules", "mlp", "core_attn", "moe_act",
                 "layernorm"}},
        Variant{"full_uniform_1",
                {"--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"}},
        Variant{"full_uniform_3",
                {"--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "3"}},
        Variant{"full_block_2",
                {"--recompute-granularity", "full", "--recompute-method", "block", "--recompute-num-layers", "2"}}),
    [](const auto& tested) { return tested.param.name; });

TEST(Schedule, EveryLegalOrderGivesTheSameBits) {
  for (const Words& words : {Words{}, Words{"--bf16"}}) {
    Options tied = small_moe(words);
    tied.model.untie_embeddings_and_output_weights = false;
    for (const Options& options : {small_moe(words), tied}) {
      const Outcome plain = run(options);
      const Outcome last =
          run(options, [](int64_t count) { return sequential_step(count, WeightGradientTiming::kLast); });
      const Outcome after =
          run(options, [](int64_t count) { return sequential_step(count, WeightGradientTiming::kAfterBackward); });
      const Outcome forwards =
          run(options, [](int64_t count) { return forwards_first_step(count, WeightGradientTiming::kLast); });
      for (const Outcome& other : {last, after, forwards}) {
        EXPECT_EQ(plain.losses, other.losses);
        EXPECT_EQ(plain.weights, other.weights);
      }
    }
  }
}

TEST(Step, RunsTheSameTwice) {
  const Outcome first = run(small_moe()), second = run(small_moe());
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.weights, second.weights);
  EXPECT_NE(first.losses[0], first.losses[2]);
}

TEST(Step, ABadLossIsThrownAwayWhole) {
  const Options options = small_moe({"--moe-router-enable-expert-bias", "--moe-router-score-function", "sigmoid"});
  const auto device = make_device("cpu");
  Engine engine(options, options.model.vocab_size, *device, true);
  take_step(engine, options, 0);
  const auto before = all_weights(engine);
  // One weight becomes NaN: the step must be refused, and the state must be as it was once it is mended.
  const Tensor weight = engine.store().main_weight(*engine.store().parameters()[3]);
  const std::vector<float> good = to_host<float>(device->default_stream(), weight);
  std::vector<float> bad = good;
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  copy_from_host<float>(device->default_stream(), weight, bad);
  EXPECT_THROW(take_step(engine, options, 1), NonFiniteStep);
  copy_from_host<float>(device->default_stream(), weight, good);
  EXPECT_EQ(before, all_weights(engine));
  const StepResult result = take_step(engine, options, 1);
  EXPECT_TRUE(result.updated);
}

}  // namespace
}  // namespace conclave
