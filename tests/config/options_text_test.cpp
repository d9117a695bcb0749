#include "config/options_text.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/option_value.h"
#include "config/resolve.h"
#include "config/valid_words.h"
#include "config/validate.h"

namespace conclave {
namespace {

Options awkward_options() {
  Options options =
      parse_command_line(
          Command::kTrain,
          valid_words("--moe-layer-freq ([0]*1+[1]*3) --swiglu --bf16 --lr 0.1 --adam-eps 1e-08 --split 9,1 "
                      "--moe-aux-loss-coeff 0.01 0.02 --moe-router-load-balancing-type aux_loss seq_aux_loss "
                      "--window-size 7,0 --moe-expert-capacity-factor 1.25 --iterations-to-skip 3 5 "
                      "--cp-comm-type a2a+p2p --no-bias-gelu-fusion --train-samples 10M"))
          .options;
  options.data.data_path = {"0.3", "/data/with blank: #1", "true", "null"};
  options.checkpoint.save = "caf\u00e9 \"x\"\n";
  return options;
}

// Equal in every field that has a row.
void expect_equal(const Options& a, const Options& b) {
  for (const OptionRow& row : option_table())
    EXPECT_EQ(option_json(a, row).dump(), option_json(b, row).dump()) << row.key;
}

TEST(OptionsYaml, ReadsBackToTheSameValues) {
  for (const Options& options : {Options{}, awkward_options(), resolved(awkward_options())}) {
    expect_equal(parse_yaml(options_yaml(options), "options.yaml").options, options);
  }
}

TEST(OptionsYaml, IsGroupedAndPlain) {
  const std::string text = options_yaml(awkward_options());
  EXPECT_TRUE(text.starts_with("model:\n  num-layers: 4\n  hidden-size: 64\n")) << text;
  EXPECT_NE(text.find("\nmoe:\n"), std::string::npos);
  EXPECT_NE(text.find("  moe-aux-loss-coeff: [0.01, 0.02]\n"), std::string::npos);
  EXPECT_NE(text.find("  decoupled-lr: null\n"), std::string::npos);
  EXPECT_EQ(text.find("prompt"), std::string::npos);
}

TEST(OptionsJson, ReadsBackToTheSameValues) {
  for (const Options& options : {Options{}, awkward_options(), resolved(awkward_options())}) {
    const Json json = Json::parse(options_to_json(options).dump(), "x");
    expect_equal(options_from_json(json, "x").options, options);
  }
}

TEST(Architecture, ReplacesWhatWasGivenAndSaysSo) {
  const Json saved = options_to_json(resolved(awkward_options()));
  ParsedOptions parsed = parse_command_line(Command::kTrain, {"--num-layers", "9", "--hidden-size", "64", "--lr", "0.5",
                                                              "--tokenizer-type", "ByteTokenizer"});
  const auto notes = take_architecture(parsed, saved);
  EXPECT_EQ(notes, std::vector<std::string>{"--num-layers: the checkpoint has 4; 9 is left aside"});
  EXPECT_EQ(parsed.options.model.num_layers, 4);
  EXPECT_EQ(parsed.options.moe.num_experts, 8);
  EXPECT_EQ(parsed.options.moe.moe_layer_freq, "([0]*1+[1]*3)");
  EXPECT_EQ(parsed.options.optimizer.lr, 0.5);
  EXPECT_EQ(parsed.options.tokenizer.tokenizer_type, "ByteTokenizer");
  EXPECT_THROW(take_architecture(parsed, Json::parse(R"({"num-layers": "x"})", "x")), UserError);
}

TEST(Architecture, DifferencesAreNamed) {
  Options options = awkward_options();
  const Json saved = options_to_json(options);
  EXPECT_EQ(architecture_differences(options, saved), std::vector<std::string>{});
  options.model.hidden_size = 128;
  options.optimizer.lr = 9;
  const auto texts = architecture_differences(options, saved);
  ASSERT_FALSE(texts.empty());
  EXPECT_EQ(texts[0], "--hidden-size is 128, the checkpoint has 64");
  for (const std::string& text : texts) EXPECT_EQ(text.find("--lr"), std::string::npos);
}

TEST(Architecture, KeysHoldWhatWeightsDependOn) {
  const auto keys = architecture_keys();
  for (const char* key : {"num-layers", "num-experts", "moe-layer-freq", "moe-ffn-hidden-size", "moe-router-topk",
                          "moe-router-score-function", "moe-router-enable-expert-bias",
                          "moe-router-topk-scaling-factor", "moe-shared-expert-intermediate-size", "moe-latent-size",
                          "mtp-num-layers", "tokenizer-type", "swiglu", "add-bias-linear", "normalization"}) {
    EXPECT_NE(std::find(keys.begin(), keys.end(), key), keys.end()) << key;
  }
  for (const char* key : {"lr", "micro-batch-size", "seed", "bf16"}) {
    EXPECT_EQ(std::find(keys.begin(), keys.end(), key), keys.end()) << key;
  }
}

}  // namespace
}  // namespace conclave
