#include "config/parse.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/list_expression.h"
#include "config/yaml.h"

namespace conclave {
namespace {

ParsedOptions train(const std::string& words) { return parse_command_line(Command::kTrain, split_words(words)); }

std::string fault_of(const std::string& words) {
  try {
    train(words);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

std::string yaml_fault(const std::string& text) {
  try {
    parse_yaml(text, "run.yaml");
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

std::string written(const std::string& name, const std::string& text) {
  const std::string path = std::filesystem::temp_directory_path() / ("conclave_parse_" + name);
  write_file_atomically(path, text);
  return path;
}

TEST(CommandLine, ValuesFlagsAndLists) {
  const ParsedOptions parsed = train(
      "--num-layers 4 --hidden-size=64 --swiglu --disable-bias-linear --moe-aux-loss-coeff 1e-2 2e-2 --data-path 0.3 a "
      "0.7 b --split 99990,8,2 --no-bias-gelu-fusion --moe_router_topk 3 --train-samples 10M extra --lr 1.0e-5");
  const Options& options = parsed.options;
  EXPECT_EQ(options.model.num_layers, 4);
  EXPECT_EQ(options.model.hidden_size, 64);
  EXPECT_TRUE(options.model.swiglu);
  EXPECT_FALSE(options.model.add_bias_linear);
  EXPECT_FALSE(options.model.bias_gelu_fusion);
  EXPECT_EQ(options.moe.moe_aux_loss_coeff, (std::vector<double>{0.01, 0.02}));
  EXPECT_EQ(options.data.data_path, (std::vector<std::string>{"0.3", "a", "0.7", "b"}));
  EXPECT_EQ(options.data.split, "99990,8,2");
  EXPECT_EQ(options.moe.moe_router_topk, 3);
  EXPECT_EQ(options.training.train_samples, 10000000);
  EXPECT_EQ(options.optimizer.lr, 1e-5);
  EXPECT_EQ(parsed.positionals, (std::vector<std::string>{"extra"}));
  EXPECT_TRUE(parsed.was_given("swiglu"));
  EXPECT_FALSE(parsed.was_given("seed"));
}

TEST(CommandLine, NegativeNumbersAreValues) {
  EXPECT_EQ(train("--moe-router-force-biased -0.5").options.moe.moe_router_force_biased, -0.5);
  EXPECT_EQ(train("--window-size -1,0").options.model.window_size, (std::vector<int64_t>{-1, 0}));
  EXPECT_EQ(train("--window-size -1 0").options.model.window_size, (std::vector<int64_t>{-1, 0}));
}

TEST(CommandLine, FlagsTakeAValueWhereItIsPlain) {
  EXPECT_TRUE(train("--swiglu=true").options.model.swiglu);
  EXPECT_FALSE(train("--swiglu false").options.model.swiglu);
  EXPECT_FALSE(train("--no-swiglu").options.model.swiglu);
  EXPECT_TRUE(train("--disable-bias-linear=false").options.model.add_bias_linear);
  EXPECT_EQ(fault_of("--swiglu=8"), "--swiglu is a flag: true or false; got '8'");
}

TEST(CommandLine, GivenTwiceTheLastWins) {
  const ParsedOptions parsed = train("--num-layers 4 --swiglu --num_layers 8 --no-swiglu");
  EXPECT_EQ(parsed.options.model.num_layers, 8);
  EXPECT_FALSE(parsed.options.model.swiglu);
  EXPECT_EQ(parsed.given.size(), 2u);
}

TEST(CommandLine, AllNamesOfAnOptionMeanTheSame) {
  EXPECT_TRUE(train("--moe-router-padding-for-fp8").options.moe.moe_router_padding_for_quantization);
  EXPECT_TRUE(train("--fake-init-process-group").options.parallel.fake_process_group);
  EXPECT_EQ(train("--cuda-graph-scope attn moe_router").options.memory.cuda_graph_modules.size(), 2u);
  EXPECT_EQ(train("--persistent-save-interval 5").options.checkpoint.save_interval, 5);
}

TEST(CommandLine, UnknownNamesGetTheNearestKnownOnes) {
  const std::string text = fault_of("--num-expert 8");
  EXPECT_TRUE(text.starts_with("command line: there is no option --num-expert; did you mean --num-experts")) << text;
  EXPECT_NE(fault_of("--zzzzqqqqxxxx 1").find("see --help"), std::string::npos);
  EXPECT_NE(fault_of("-n 8").find("there is no option --n"), std::string::npos);
}

TEST(CommandLine, AllFaultsAreReportedAtOnce) {
  const std::string text = fault_of("--num-expert 8 --num-layers x --hidden-size 64 --normalization none");
  EXPECT_TRUE(text.starts_with("3 faults in the options:")) << text;
  for (const char* part : {"--num-expert;", "--num-layers needs", "--normalization must"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(CommandLine, MissingValues) {
  EXPECT_EQ(fault_of("--num-layers --swiglu"), "--num-layers needs a value");
  EXPECT_EQ(fault_of("--config"), "--config needs a file");
  EXPECT_EQ(fault_of("--moe-aux-loss-coeff"), "--moe-aux-loss-coeff needs a value");
  EXPECT_TRUE(train("--data-path").options.data.data_path.empty());
}

TEST(CommandLine, SpellingsPastedFromTheWebGetTheirCure) {
  EXPECT_EQ(fault_of("\u2013num-experts 8"),
            "'\u2013num-experts' holds an en dash (U+2013), as pasted from a web page; write --num-experts");
  EXPECT_EQ(fault_of("\u2014num-experts 8"),
            "'\u2014num-experts' holds an em dash (U+2014), as pasted from a web page; write --num-experts");
  EXPECT_EQ(
      fault_of("--moe\u2011router-topk 8"),
      "'--moe\u2011router-topk' holds a hard hyphen (U+2011), as pasted from a web page; write --moe-router-topk");
  EXPECT_EQ(fault_of("--manual-gc: true"),
            "'--manual-gc:' ends in a colon; write --manual-gc on the command line, or 'manual-gc: true' in a file for "
            "--config");
  EXPECT_EQ(fault_of("--manual-gc-interval: 10"),
            "'--manual-gc-interval:' ends in a colon; write --manual-gc-interval VALUE on the command line, or "
            "'manual-gc-interval: VALUE' in a file for --config");
  EXPECT_NE(fault_of("\u201cabc\u201d").find("curly quote"), std::string::npos);
  EXPECT_TRUE(pasted_spelling("--split=a:b").empty());
  EXPECT_TRUE(pasted_spelling("Hello \u2013 world").empty());
}

TEST(CommandLine, OptionsOfAnotherCommandAreRefused) {
  EXPECT_EQ(fault_of("--prompt hello"), "--prompt is an option of `conclave generate`, not of `conclave train`");
  const ParsedOptions parsed =
      parse_command_line(Command::kGenerate, {"--prompt", "Once upon a time", "--load", "run", "--top-k", "5"});
  EXPECT_EQ(parsed.options.generate.prompt, (std::vector<std::string>{"Once upon a time"}));
}

TEST(CommandLine, HelpAndDoubleDash) {
  EXPECT_TRUE(train("--help").help);
  EXPECT_TRUE(train("-h").help);
  EXPECT_EQ(train("-- --swiglu").positionals, (std::vector<std::string>{"--swiglu"}));
}

TEST(Yaml, KeysGroupsListsAndNull) {
  const ParsedOptions parsed = parse_yaml(R"(
# a comment
num-layers: 4
model:
  hidden_size: 64
  swiglu: yes
  disable-bias-linear: true
moe:
  num-experts: 8
  moe-layer-freq: [0, 1, 1, 1]
  moe-router-load-balancing-type: [aux_loss, seq_aux_loss]
  moe-aux-loss-coeff: 0.01 0.02
data:
  data-path: 0.3 a 0.7 b
  split: [99990, 8, 2]
train-samples: 10M
lr: ~
--manual-gc: true
)",
                                          "run.yaml");
  const Options& options = parsed.options;
  EXPECT_EQ(options.model.num_layers, 4);
  EXPECT_EQ(options.model.hidden_size, 64);
  EXPECT_TRUE(options.model.swiglu);
  EXPECT_FALSE(options.model.add_bias_linear);
  EXPECT_EQ(options.moe.moe_layer_freq, "[0,1,1,1]");
  EXPECT_EQ(options.moe.moe_router_load_balancing_type.size(), 2u);
  EXPECT_EQ(options.moe.moe_aux_loss_coeff, (std::vector<double>{0.01, 0.02}));
  EXPECT_EQ(options.data.data_path.size(), 4u);
  EXPECT_EQ(options.data.split, "99990,8,2");
  EXPECT_FALSE(options.optimizer.lr.has_value());
  EXPECT_TRUE(parsed.was_given("manual-gc"));
}

TEST(Yaml, FaultsNameTheFile) {
  EXPECT_NE(yaml_fault("num-expert: 8").find("run.yaml: there is no option --num-expert"), std::string::npos);
  EXPECT_NE(yaml_fault("a: [1, 2").find("run.yaml: line "), std::string::npos);
  EXPECT_NE(yaml_fault("- 1\n- 2").find("key: value"), std::string::npos);
  EXPECT_NE(yaml_fault("modle:\n  num-layers: 4").find("there is no option --modle"), std::string::npos);
  EXPECT_NE(yaml_fault("num-layers:\n  a: 4").find("num-layers holds a group"), std::string::npos);
  EXPECT_NE(yaml_fault("swiglu: 8").find("is a flag"), std::string::npos);
  EXPECT_EQ(yaml_fault(""), "none");
}

TEST(Yaml, HostileTextsEndInAnError) {
  EXPECT_NE(yaml_fault(std::string(5000, '[')), "none");
  EXPECT_NE(yaml_fault(std::string(5000, '{')), "none");
  std::string bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i < 10; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("{}*a{}", j ? "," : "", i - 1);
    bomb += "]\n";
  }
  EXPECT_NE(yaml_fault(bomb).find("too many values"), std::string::npos);
  EXPECT_NE(yaml_fault("a: &a [*a]"), "none");
}

TEST(Yaml, TheCommandLineWinsWhereverConfigStands) {
  const std::string path = written("one.yaml", "num-layers: 4\nswiglu: true\nseed: 7\n");
  const std::string second = written("two.yaml", "seed: 9\n");
  const ParsedOptions parsed = train("--num-layers 8 --config " + path + " --no-swiglu --config=" + second);
  EXPECT_EQ(parsed.options.model.num_layers, 8);
  EXPECT_FALSE(parsed.options.model.swiglu);
  EXPECT_EQ(parsed.options.training.seed, 9);
  EXPECT_NE(fault_of("--config /nonexistent/x.yaml").find("/nonexistent/x.yaml"), std::string::npos);
}

TEST(Yaml, ScalarsAreQuotedWhereTheyMustBe) {
  for (const char* text :
       {"", "true", "null", "a: b", "- x", "1.5", "plain", "#", "two words", "\"", "\n", "~", "\u00e9"}) {
    const Json back = yaml_to_json(fmt::format("key: {}", yaml_scalar(text)), "x").at("key");
    EXPECT_EQ(back.as_string(), text);
  }
}

TEST(JsonOptions, TypesOfTheGoldenCases) {
  const Json object = Json::parse(
      R"({"num-experts": 8, "moe-layer-freq": 2, "moe-aux-loss-coeff": [0.02, 0.03], "disable-bias-linear": false,
          "moe-router-load-balancing-type": "aux_loss", "moe-expert-capacity-factor": null, "adam-eps": 1e-08})",
      "case");
  const ParsedOptions parsed = options_from_json(object, "case");
  EXPECT_EQ(parsed.options.moe.num_experts, 8);
  EXPECT_EQ(parsed.options.moe.moe_layer_freq, "2");
  EXPECT_TRUE(parsed.options.model.add_bias_linear);
  EXPECT_EQ(parsed.options.optimizer.adam_eps, 1e-8);
  EXPECT_FALSE(parsed.was_given("moe-expert-capacity-factor"));
}

TEST(ListExpression, Grammar) {
  using List = std::vector<int64_t>;
  EXPECT_EQ(parse_list_expression("([0]*3+[1]*2)", "x"), (List{0, 0, 0, 1, 1}));
  EXPECT_EQ(parse_list_expression(" [ 0 , 1 ] * 2 ", "x"), (List{0, 1, 0, 1}));
  EXPECT_EQ(parse_list_expression("2*([1]+[0]*(1+1))", "x"), (List{1, 0, 0, 1, 0, 0}));
  EXPECT_EQ(parse_list_expression("[1,]*0", "x"), List{});
  EXPECT_EQ(parse_list_expression("[-1]", "x"), List{-1});
}

TEST(ListExpression, FaultsAndHostileTexts) {
  for (const char* text : {"", "1", "[1", "([1]", "[1]+1", "[1]*[1]", "[1]*-1", "[1] [0]", "[1]**2", "[a]",
                           "[1]*99999999999", "__import__", "[1]*9223372036854775807*9", "[1]+", "[,]"}) {
    EXPECT_THROW(parse_list_expression(text, "--x"), UserError) << text;
  }
  EXPECT_THROW(parse_list_expression(std::string(100000, '('), "--x"), UserError);
  EXPECT_THROW(parse_list_expression("9223372036854775807*2*[1]", "--x"), UserError);
}

TEST(ListExpression, LayersByNumberOrList) {
  using Layers = std::vector<bool>;
  EXPECT_EQ(every_nth_layer("1", 3, "x"), (Layers{true, true, true}));
  EXPECT_EQ(every_nth_layer("2", 5, "x"), (Layers{true, false, true, false, true}));
  EXPECT_EQ(every_nth_layer("[0,1,1]", 3, "x"), (Layers{false, true, true}));
  EXPECT_THROW(every_nth_layer("[0,1]", 3, "x"), UserError);
  EXPECT_THROW(every_nth_layer("[0,1,2]", 3, "x"), UserError);
  EXPECT_THROW(every_nth_layer("0", 3, "x"), UserError);
}

}  // namespace
}  // namespace conclave
