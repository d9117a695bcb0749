#include "trainer/upcycling.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "config/options_text.h"
#include "trainer/run_state.h"
#include "trainer/small_models.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& name) { return std::string(CONCLAVE_GOLDEN_DIR) + "/hf/" + name; }

class Upcycling : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = (fs::temp_directory_path() / ("conclave_upcycling_" + std::to_string(::getpid()))).string();
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  UpcyclingReport upcycle(const Words& words) {
    const std::string save = root_ + "/" + std::to_string(count_++);
    Words all = {"--save", save};
    all.insert(all.end(), words.begin(), words.end());
    return upcycle_model(parse_command_line(Command::kUpcycle, all));
  }
  std::string error_of(const Words& words) {
    try {
      upcycle(words);
    } catch (const UserError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string root_;
  int count_ = 0;
};

TEST_F(Upcycling, TheNewModelIsTheSameFunction) {
  const Words ways[] = {
      {"--num-experts", "4", "--moe-router-topk", "2"},
      {"--num-experts", "3", "--moe-router-topk", "3"},
      {"--num-experts", "8", "--moe-router-topk", "4", "--moe-upcycling-granularity", "2"},
      {"--num-experts", "12", "--moe-router-topk", "3", "--moe-upcycling-granularity", "3"},
      {"--num-experts", "4", "--moe-router-topk", "2", "--moe-router-pre-softmax"},
      {"--num-experts", "8", "--moe-router-topk", "4", "--moe-upcycling-granularity", "2", "--moe-router-pre-softmax"},
      {"--num-experts", "4", "--moe-router-topk", "1", "--moe-router-pre-softmax"},
      {"--num-experts", "8", "--moe-router-topk", "4", "--moe-upcycling-granularity", "4",
       "--moe-router-score-function", "sigmoid", "--moe-router-enable-expert-bias", "--moe-router-topk-scaling-factor",
       "2.5"},
      {"--num-experts", "4", "--moe-router-topk", "2", "--moe-router-score-function", "sigmoid",
       "--moe-router-norm-topk-prob", "never"},
      {"--num-experts", "4", "--moe-router-topk", "2", "--moe-layer-freq", "[0,1]",
       "--moe-shared-expert-intermediate-size", "16", "--moe-shared-expert-gate"},
  };
  for (const char* model : {"llama", "mistral", "qwen2", "qwen3"}) {
    for (const Words& way : ways) {
      Words words = {"--load-hf", golden(model)};
      words.insert(words.end(), way.begin(), way.end());
      const UpcyclingReport report = upcycle(words);
      EXPECT_TRUE(report.plan.exact) << report.plan.note;
      ASSERT_TRUE(report.difference.has_value());
      EXPECT_LE(*report.difference, 1e-5) << model << " " << way[1] << " " << way[3];
      EXPECT_GT(*report.largest, 0.1);
    }
  }
}

TEST_F(Upcycling, MegatronsScalingChangesTheFunctionAndSaysSo) {
  const Words granular = {"--load-hf",
                          golden("llama"),
                          "--num-experts",
                          "8",
                          "--moe-router-topk",
                          "4",
                          "--moe-upcycling-granularity",
                          "2",
                          "--moe-upcycling-scaling",
                          "split"};
  const UpcyclingReport report = upcycle(granular);
  EXPECT_FALSE(report.plan.exact);
  EXPECT_NEAR(report.plan.fc1, std::cbrt(2.0), 1e-12);
  EXPECT_GT(*report.difference, 1e-3);
  // Plain copies under a softmax over the chosen need no factor at all.
  const UpcyclingReport copies = upcycle({"--load-hf", golden("llama"), "--num-experts", "4", "--moe-router-topk", "2",
                                          "--moe-upcycling-scaling", "split"});
  EXPECT_TRUE(copies.plan.exact);
  EXPECT_LE(*copies.difference, 1e-5);
  const UpcyclingReport parts = upcycle({"--load-hf", golden("llama"), "--num-experts", "8", "--moe-router-topk", "3",
                                         "--moe-upcycling-granularity", "2"});
  EXPECT_FALSE(parts.plan.exact);
}

TEST_F(Upcycling, ADenseCheckpointOfOurOwnWithBiases) {
  const Options options = small_moe({"--num-experts", "0", "--moe-layer-freq", "1", "--moe-ffn-hidden-size", "0",
                                     "--moe-shared-expert-intermediate-size", "0", "--add-bias-linear",
                                     "--moe-aux-loss-coeff", "0", "--moe-z-loss-coeff", "0"});
  const auto device = make_device("cpu");
  Engine engine(options, options.model.vocab_size, *device, true);
  take_step(engine, options, 0);
  const auto world = make_self_communicator("world");
  CheckpointWriter writer({.run_directory = root_ + "/dense"}, *world, device->default_stream());
  Json state = Json::object();
  state["options"] = options_to_json(options);
  state["vocab_size"] = options.model.vocab_size;
  writer.save(1, checkpoint_tensors(engine, true), state);
  const UpcyclingReport report = upcycle(
      {"--load", root_ + "/dense", "--num-experts", "8", "--moe-router-topk", "4", "--moe-upcycling-granularity", "2"});
  EXPECT_LE(*report.difference, 1e-5);
  const UpcyclingReport pre =
      upcycle({"--load", root_ + "/dense", "--num-experts", "4", "--moe-router-topk", "2", "--moe-router-pre-softmax"});
  EXPECT_LE(*pre.difference, 1e-5);
}

TEST_F(Upcycling, WhatDoesNotFitIsSaidInWords) {
  const auto expect = [&](const Words& words, const std::string& part) {
    Words all = {"--load-hf", golden("llama")};
    all.insert(all.end(), words.begin(), words.end());
    const std::string text = error_of(all);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expect({}, "--num-experts is not given");
  expect({"--num-experts", "4", "--moe-upcycling-granularity", "5"}, "are not the dense width 48");
  expect({"--num-experts", "6", "--moe-router-topk", "4", "--moe-upcycling-granularity", "4"},
         "--moe-upcycling-granularity 4 must divide --num-experts 6");
  expect({"--num-experts", "4", "--moe-ffn-hidden-size", "20"}, "are not the dense width 48");
  expect({"--num-experts", "8", "--moe-router-num-groups", "2", "--moe-router-group-topk", "1"}, "group-limited");
  EXPECT_NE(error_of({"--load-hf", golden("mixtral"), "--num-experts", "4"}).find("has experts already"),
            std::string::npos);
  EXPECT_NE(error_of({"--load", root_ + "/nothing", "--num-experts", "4"}).find("there is no checkpoint"),
            std::string::npos);
  // A second time into the same run: the flag must go.
  const UpcyclingReport report = upcycle({"--load-hf", golden("llama"), "--num-experts", "4"});
  const std::string taken = fs::path(report.directory).parent_path().string();
  EXPECT_NE(error_of({"--load-hf", golden("llama"), "--num-experts", "4", "--save", taken})
                .find("holds a checkpoint already"),
            std::string::npos);
}

}  // namespace
}  // namespace conclave
