// The model zoo: every configuration parses, is valid, and is the size that was published.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "config/validate.h"
#include "spec/flops.h"
#include "spec/hugging_face/model.h"
#include "spec/model_spec.h"

namespace conclave {
namespace {

struct Published {
  const char* name;
  double total, active;  ///< billions
};

// Papers and model cards. Some count the input embedding among the active ones, some do not: either may be meant.
constexpr Published kPublished[] = {
    {"mixtral_8x7b", 46.7, 12.9},    {"mixtral_8x22b", 141, 39},      {"qwen1.5_moe_a2.7b", 14.3, 2.7},
    {"qwen2_57b_a14b", 57.4, 14.2},  {"qwen3_30b_a3b", 30.5, 3.3},    {"qwen3_235b_a22b", 235, 22},
    {"deepseek_moe_16b", 16.4, 2.8}, {"deepseek_v2_lite", 15.7, 2.4}, {"deepseek_v2", 236, 21},
    {"deepseek_v3", 671, 37},        {"llama3.1_8b", 8.03, 8.03},     {"mistral_7b", 7.24, 7.24},
    {"qwen2_7b", 7.62, 7.62},        {"qwen3_8b", 8.19, 8.19}};

Options zoo_options(const std::string& name) {
  const std::string path = std::string(CONCLAVE_SOURCE_DIR) + "/configs/models/" + name + ".yaml";
  return checked_options(parse_yaml(read_file(path), path), Command::kTrain);
}

TEST(Zoo, EveryModelHasThePublishedSize) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CONCLAVE_SOURCE_DIR "/configs/models"))
    files += entry.path().extension() == ".yaml" ? 1 : 0;
  EXPECT_EQ(files, 2 * std::size(kPublished)) << "each model and its twin, and nothing else";
  for (const Published& published : kPublished) {
    const Options options = zoo_options(published.name);
    const ModelSpec spec = make_model_spec(options, options.model.vocab_size);
    const ParameterCount count = count_parameters(spec);
    const double total = static_cast<double>(count.total) / 1e9, active = static_cast<double>(count.active) / 1e9;
    const double table = static_cast<double>(spec.vocab * spec.hidden) / 1e9;
    EXPECT_NEAR(total, published.total, 0.005 * published.total) << published.name;
    const double nearest = std::min(std::abs(active - published.active), std::abs(active - table - published.active));
    EXPECT_LE(nearest, 0.025 * published.active) << published.name << ": " << active;
  }
}

// What a trained model of the zoo would be exported as, said in a config.json and read back.
TEST(Zoo, EveryModelThatTransformersKnowsCanBeSaidInItsConfiguration) {
  const std::pair<const char*, const char*> types[] = {{"mixtral_8x7b", "mixtral"},
                                                       {"mixtral_8x22b", "mixtral"},
                                                       {"qwen1.5_moe_a2.7b", "qwen2_moe"},
                                                       {"qwen2_57b_a14b", "qwen2_moe"},
                                                       {"qwen3_30b_a3b", "qwen3_moe"},
                                                       {"qwen3_235b_a22b", "qwen3_moe"},
                                                       {"deepseek_v2_lite", "deepseek_v2"},
                                                       {"deepseek_v2", "deepseek_v2"},
                                                       {"deepseek_v3", "deepseek_v3"},
                                                       {"llama3.1_8b", "llama"},
                                                       {"mistral_7b", "mistral"},
                                                       {"qwen2_7b", "qwen2"},
                                                       {"qwen3_8b", "qwen3"}};
  for (const auto& [name, type] : types) {
    for (const std::string& suffix : {std::string(), std::string("_small")}) {
      const Options options = zoo_options(name + suffix);
      EXPECT_EQ(family_for(options, options.model.vocab_size).model_type, type) << name << suffix;
    }
  }
}

// Both ways of counting agree where they count the same: no windows, the vocabulary as it is, long sequences apart.
TEST(Zoo, FlopsOfATokenAreSixTimesItsActiveParameters) {
  for (const Published& published : kPublished) {
    const Options options = zoo_options(published.name);
    const ModelSpec spec = make_model_spec(options, options.model.vocab_size);
    const std::vector<int64_t> one_token = {1};
    const double table = static_cast<double>(spec.vocab * spec.hidden);
    const double active = static_cast<double>(count_parameters(spec).active) - table;
    EXPECT_NEAR(exact_step_flops(spec, one_token) / (6 * active), 1, 0.01) << published.name;
  }
}

}  // namespace
}  // namespace conclave
