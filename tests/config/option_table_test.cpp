#include "config/option_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "config/option_value.h"

namespace conclave {
namespace {

const std::string kSource = CONCLAVE_SOURCE_DIR;

std::vector<std::string> names_of(const std::string& file) {
  return split_words(read_file(kSource + "/tests/config/" + file));
}

TEST(OptionTable, EveryKnownNameHasARow) {
  const auto names = names_of("known_names.txt");
  EXPECT_GT(names.size(), 870u);
  for (const std::string& name : names) EXPECT_NE(find_option(name).row, nullptr) << name;
}

TEST(OptionTable, EveryNameOfTheGuideHasARow) {
  const auto names = names_of("guide_names.txt");
  EXPECT_GT(names.size(), 110u);
  for (const std::string& name : names) EXPECT_NE(find_option(name).row, nullptr) << name;
}

TEST(OptionTable, NamesMayHaveDashesAndUnderscores) {
  EXPECT_EQ(find_option("--num_experts").row, &option_row("num-experts"));
  EXPECT_EQ(find_option("num-experts").row, &option_row("num-experts"));
  EXPECT_EQ(find_option("--override-opt_param-scheduler").row, &option_row("override-opt-param-scheduler"));
  EXPECT_EQ(find_option("--").row, nullptr);
  EXPECT_EQ(find_option("--no-such-option-at-all").row, nullptr);
}

TEST(OptionTable, NegativeNamesTurnFlagsOff) {
  EXPECT_TRUE(find_option("--disable-bias-linear").negated);
  EXPECT_EQ(find_option("--disable-bias-linear").row->key, "add-bias-linear");
  EXPECT_EQ(find_option("--no-position-embedding").row->key, "add-position-embedding");
  EXPECT_EQ(find_option("--no-bias-gelu-fusion").row->key, "bias-gelu-fusion");
  EXPECT_EQ(find_option("--no-overlap-p2p-communication").row->key, "overlap-p2p-communication");
  EXPECT_EQ(find_option("--no-swiglu").row->key, "swiglu");
  EXPECT_FALSE(find_option("--no-load-optim").negated);
}

TEST(OptionTable, EveryRowIsComplete) {
  for (const OptionRow& row : option_table()) {
    EXPECT_FALSE(row.help.empty()) << row.key;
    EXPECT_EQ(row.help.find('\n'), std::string::npos) << row.key;
    EXPECT_TRUE(row.help.ends_with('.')) << row.key << ": " << row.help;
    EXPECT_TRUE(row.status != OptionClass::kUnavailable || !row.feature.empty()) << row.key;
    EXPECT_TRUE(row.status != OptionClass::kWorks || row.field != nullptr) << row.key;
    for (const UnbuiltChoice& choice : row.unbuilt) {
      EXPECT_NE(std::find(row.choices.begin(), row.choices.end(), choice.value), row.choices.end()) << row.key;
    }
  }
}

// A default that its own row would refuse would make every run fail.
TEST(OptionTable, DefaultsPassTheirOwnChecks) {
  for (const OptionRow& row : option_table()) {
    const bool list =
        row.type == OptionType::kIntList || row.type == OptionType::kFloatList || row.type == OptionType::kStringList;
    if (row.default_text.empty()) continue;
    Options options;
    const auto words = list ? split_words(row.default_text) : std::vector<std::string>{row.default_text};
    if (row.default_text == "0" && row.minimum.value_or(0) > 0) continue;  // "0: derived" or required
    EXPECT_EQ(assign_option(options, row, words), std::nullopt) << row.key;
    EXPECT_TRUE(option_is_default(options, row)) << row.key;
  }
}

// Every field of the structs can be reached under its own name, so that nothing is set by code alone.
TEST(OptionTable, EveryFieldHasARow) {
  const std::set<std::string> without = {"world-size"};
  const std::regex field(R"((?:bool|int64_t|double|std::string|>) ([a-z0-9_]+)(?: = [^;]*)?;)");
  int fields = 0;
  for (const char* header :
       {"model", "moe", "parallel", "precision", "memory", "training", "optimizer", "data", "run"}) {
    const std::string text = read_file(kSource + "/src/config/" + header + "_options.h");
    for (auto it = std::sregex_iterator(text.begin(), text.end(), field); it != std::sregex_iterator(); ++it) {
      const std::string key = replace_all((*it)[1].str(), "_", "-");
      if (without.contains(key)) continue;
      ++fields;
      const OptionRow* row = find_option(key).row;
      ASSERT_NE(row, nullptr) << header << ": " << key;
      EXPECT_EQ(row->key, key);
      EXPECT_NE(row->field, nullptr) << key;
    }
  }
  EXPECT_GT(fields, 270);
}

TEST(OptionValue, TextOfEveryKind) {
  Options options;
  const auto text = [&](const char* key) { return option_text(options, option_row(key)); };
  EXPECT_EQ(text("num-layers"), "0");
  EXPECT_EQ(text("adam-eps"), "1e-08");
  EXPECT_EQ(text("swiglu"), "false");
  EXPECT_EQ(text("lr"), "");
  EXPECT_EQ(text("moe-router-load-balancing-type"), "aux_loss");
  options.moe.moe_aux_loss_coeff = {0.01, 0.5};
  EXPECT_EQ(text("moe-aux-loss-coeff"), "0.01 0.5");
  options.optimizer.lr = 0.1;
  EXPECT_EQ(text("lr"), "0.1");
}

TEST(OptionValue, WrongValuesAreNamed) {
  Options options;
  const auto problem = [&](const char* key, std::vector<std::string> words) {
    return assign_option(options, option_row(key), words).value_or("none");
  };
  EXPECT_EQ(problem("num-layers", {"0"}), "--num-layers must be at least 1; got 0");
  EXPECT_EQ(problem("num-layers", {"many"}),
            "--num-layers needs a whole number (suffixes K, M, B, T, KiB, MiB, GiB are fine); got 'many'");
  EXPECT_EQ(problem("num-layers", {"1.5"}),
            "--num-layers needs a whole number (suffixes K, M, B, T, KiB, MiB, GiB are fine); got '1.5'");
  EXPECT_EQ(problem("num-layers", {"1000001"}), "--num-layers must be at most 1000000; got 1000001");
  EXPECT_EQ(problem("tensor-model-parallel-size", {"9223372036854775807"}),
            "--tensor-model-parallel-size must be at most 1000000; got 9223372036854775807");
  EXPECT_EQ(problem("rotary-percent", {"1.5"}), "--rotary-percent must be between 0 and 1; got 1.5");
  EXPECT_EQ(problem("norm-epsilon", {"0"}), "--norm-epsilon must be above 0; got 0");
  EXPECT_EQ(problem("lr", {"nan"}), "--lr needs a number; got 'nan'");
  EXPECT_EQ(problem("lr", {"inf"}), "--lr needs a number; got 'inf'");
  EXPECT_EQ(problem("normalization", {"rmsnorm"}), "--normalization must be one of: LayerNorm, RMSNorm; got 'rmsnorm'");
  EXPECT_EQ(problem("swiglu", {"maybe"}), "--swiglu is a flag: true or false; got 'maybe'");
  EXPECT_EQ(problem("rampup-batch-size", {"1", "2"}), "--rampup-batch-size needs 3 values; got 2");
  EXPECT_EQ(problem("moe-aux-loss-coeff", {}), "--moe-aux-loss-coeff needs at least one value; got 0");
  EXPECT_EQ(problem("train-samples", {"10M"}), "none");
  EXPECT_EQ(options.training.train_samples, 10000000);
  EXPECT_EQ(problem("train-samples", {"1e6"}), "none");
  EXPECT_EQ(options.training.train_samples, 1000000);
  EXPECT_EQ(problem("delta-offload-bytes-across-pp-ranks", {"1.5GiB"}), "none");
  EXPECT_EQ(options.memory.delta_offload_bytes_across_pp_ranks, int64_t{3} << 29);
  EXPECT_EQ(problem("window-size", {"(127,", "0)"}), "none");
  EXPECT_EQ(options.model.window_size, (std::vector<int64_t>{127, 0}));
  EXPECT_EQ(problem("recompute-modules", {"[core_attn,moe_act]"}), "none");
  EXPECT_EQ(options.memory.recompute_modules, (std::vector<std::string>{"core_attn", "moe_act"}));
}

}  // namespace
}  // namespace conclave
