// Text from a model: what is kept of earlier positions changes nothing, the rules of sampling hold, the commands do
// what their options say.
#include "trainer/generation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "trainer/small_models.h"
#include "trainer/small_runs.h"
#include "trainer/text_evaluation.h"

namespace conclave {
namespace {

const std::vector<float> kLogits = {0.0f, 2.0f, -1.0f, 2.0f, 1.0f};

std::map<int32_t, int> draws(const SamplingRule& rule, int count) {
  std::map<int32_t, int> out;
  for (int i = 0; i < count; ++i) ++out[pick_token(kLogits, rule, 0, i)];
  return out;
}

TEST(PickToken, GreedyTakesTheLargestAndTheFirstOfEquals) {
  EXPECT_EQ(pick_token(kLogits, {.greedy = true}, 0, 0), 1);
  EXPECT_EQ(pick_token(kLogits, {.top_k = 1}, 3, 7), 1);
}

TEST(PickToken, FrequenciesFollowTheSoftmax) {
  double sum = 0;
  for (const float logit : kLogits) sum += std::exp(static_cast<double>(logit) / 0.5);
  constexpr int kCount = 20000;
  auto seen = draws({.temperature = 0.5}, kCount);
  for (int32_t token = 0; token < 5; ++token) {
    const double expected = std::exp(static_cast<double>(kLogits[static_cast<size_t>(token)]) / 0.5) / sum;
    EXPECT_NEAR(seen[token] / static_cast<double>(kCount), expected, 0.015) << token;
  }
}

TEST(PickToken, TopKAndTopPCutTheTail) {
  auto three = draws({.top_k = 3}, 2000);
  EXPECT_EQ(three.size(), 3u);
  EXPECT_EQ(three.count(0) + three.count(2), 0u);
  // The two best have 0.79 of the probability together, the third is needed for 0.8.
  EXPECT_EQ(draws({.top_p = 0.7}, 2000).size(), 2u);
  EXPECT_EQ(draws({.top_p = 0.8}, 2000).size(), 3u);
  EXPECT_EQ(draws({.top_p = 0.3}, 2000).size(), 1u);
}

TEST(PickToken, IsAFunctionOfSeedSampleAndPosition) {
  std::vector<int32_t> first, second, other_seed, other_sample;
  for (int64_t i = 0; i < 100; ++i) {
    first.push_back(pick_token(kLogits, {.seed = 5}, 1, i));
    second.push_back(pick_token(kLogits, {.seed = 5}, 1, i));
    other_seed.push_back(pick_token(kLogits, {.seed = 6}, 1, i));
    other_sample.push_back(pick_token(kLogits, {.seed = 5}, 2, i));
  }
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other_seed);
  EXPECT_NE(first, other_sample);
}

class Generation : public ::testing::Test {
 protected:
  explicit Generation(const Words& words = {}) : options_(small_moe(words)) {
    for (int64_t step = 0; step < 3; ++step) take_step(engine_, options_, step);
  }
  std::vector<int32_t> greedy(int64_t count, const std::vector<int32_t>& prompt) {
    GenerationRequest request;
    request.prompt = prompt;
    request.max_new_tokens = count;
    request.sampling.greedy = true;
    return generate(engine_, request).tokens;
  }
  Options options_;
  std::unique_ptr<Device> device_ = make_device("cpu");
  Engine engine_{options_, options_.model.vocab_size, *device_, true};
};

const std::vector<int32_t> kPrompt = {5, 9, 33, 2};

// Each token again from a prompt that holds all before it: nothing is kept then.
TEST_F(Generation, KeptKeysAndValuesChangeNothing) {
  const std::vector<int32_t> together = greedy(12, kPrompt);
  ASSERT_EQ(together.size(), 12u);
  std::vector<int32_t> text = kPrompt;
  for (const int32_t expected : together) {
    const std::vector<int32_t> next = greedy(1, text);
    ASSERT_EQ(next.size(), 1u);
    EXPECT_EQ(next[0], expected) << text.size();
    text.push_back(next[0]);
  }
}

TEST_F(Generation, StopsWhereItIsTold) {
  const std::vector<int32_t> free = greedy(12, kPrompt);
  GenerationRequest request;
  request.prompt = kPrompt;
  request.max_new_tokens = 12;
  request.sampling.greedy = true;
  request.stop_token = free[3];
  const GenerationResult result = generate(engine_, request);
  EXPECT_TRUE(result.stopped);
  const auto first = std::find(free.begin(), free.end(), free[3]);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(free.begin(), first));
  request.stop_token.reset();
  int64_t heard = 0;
  request.on_token = [&](int32_t) { return ++heard < 5; };
  EXPECT_EQ(generate(engine_, request).tokens.size(), 5u);
}

class GenerateCommand : public SmallRuns {
 protected:
  void SetUp() override {
    SmallRuns::SetUp();
    prepare_text("the cat sat on the mat and the dog ran.", 300);
    ASSERT_EQ(shell(train_command(on_text() + " --lr 1e-2 --train-iters 60 --save " + root_ + "/run")), 0) << output_;
  }
  std::string generated(const std::string& words) {
    EXPECT_EQ(shell(conclave("generate --load " + root_ + "/run --log-level error " + words) + " 2>/dev/null"), 0)
        << output_;
    return output_;
  }
};

TEST_F(GenerateCommand, OptionsAndPrompts) {
  const std::string greedy = generated("--prompt 'the cat' --max-new-tokens 20 --greedy --ignore-eod");
  EXPECT_TRUE(greedy.starts_with("the cat")) << greedy;
  EXPECT_GT(greedy.size(), 7u + 10u);
  EXPECT_EQ(generated("--prompt 'the cat' --max-new-tokens 20 --greedy --ignore-eod --no-stream"), greedy);
  EXPECT_EQ(generated("--prompt 'the cat' --max-new-tokens 20 --top-k 1 --ignore-eod"), greedy);
  write_file_atomically(root_ + "/prompt", "the cat");
  EXPECT_EQ(generated("--prompt-file " + root_ + "/prompt --max-new-tokens 20 --greedy --ignore-eod"), greedy);
  const std::string drawn = generated("--prompt 'the cat' --max-new-tokens 20 --seed 3 --num-samples 2 --ignore-eod");
  EXPECT_EQ(generated("--prompt 'the cat' --max-new-tokens 20 --seed 3 --num-samples 2 --ignore-eod"), drawn);
  EXPECT_NE(drawn.find("--- 2 of 2 ---"), std::string::npos);
  EXPECT_NE(generated("--prompt 'the cat' --max-new-tokens 20 --seed 4 --num-samples 2 --ignore-eod"), drawn);
  ASSERT_EQ(shell("printf 'the dog\\nthe cat\\n' | " +
                  conclave("generate --load " + root_ +
                           "/run --interactive --greedy --max-new-tokens 20 --ignore-eod --log-level error")),
            0)
      << output_;
  EXPECT_NE(output_.find("the dog"), std::string::npos);
  EXPECT_NE(output_.find(greedy), std::string::npos) << output_;
}

// A tokenizer's own start token stands before a prompt unless it is told not to; the first logits differ then.
TEST_F(GenerateCommand, SpecialTokensAroundAPrompt) {
  const std::string model = root_ + "/tokenizer.json";
  std::string vocab;
  for (int i = 0; i < 26; ++i) vocab += fmt::format("\"{}\": {}, ", static_cast<char>('a' + i), i);
  write_file_atomically(model, R"({"model": {"type": "BPE", "vocab": {)" + vocab + R"("<s>": 26}, "merges": []},
    "added_tokens": [{"id": 26, "content": "<s>", "special": true}],
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
      {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [26], "tokens": ["<s>"]}}}})");
  ASSERT_EQ(shell(train_command(" --mock-data --tokenizer-type HuggingFaceTokenizer --tokenizer-model " + model +
                                " --lr 1e-2 --train-iters 3 --save " + root_ + "/special")),
            0)
      << output_;
  const auto prompt_tokens = [&](const std::string& more) {
    EXPECT_EQ(shell(conclave("generate --load " + root_ + "/special --prompt abc --max-new-tokens 2 --greedy " + more)),
              0)
        << output_;
    const size_t place = output_.find("(prompt of ");
    EXPECT_NE(place, std::string::npos) << output_;
    return place == std::string::npos ? -1 : std::atoi(output_.c_str() + place + 11);
  };
  EXPECT_EQ(prompt_tokens(""), 4);
  EXPECT_EQ(prompt_tokens("--tokenizer-hf-no-include-special-tokens"), 3);
}

// The loss over a text is that over its tokens, and that of the trained text is better than a guess.
TEST_F(GenerateCommand, EvaluationOfTextAndOfTokens) {
  const auto loss = [&](const std::string& words) {
    EXPECT_EQ(shell(conclave("eval --load " + root_ + "/run --json " + words)), 0) << output_;
    const size_t place = output_.find("\"lm_loss\":");
    EXPECT_NE(place, std::string::npos) << output_;
    return place == std::string::npos ? -1.0 : std::strtod(output_.c_str() + place + 10, nullptr);
  };
  const double of_text = loss("--text-file " + text());
  const double of_tokens = loss("--data-path " + data());
  EXPECT_GT(of_text, 0);
  EXPECT_LT(of_text, std::log(256.0) / 2);
  EXPECT_NEAR(of_text, of_tokens, 0.15 * of_text);  // the tokens have an end after each paragraph, the text line breaks
}

}  // namespace
}  // namespace conclave
