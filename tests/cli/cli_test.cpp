#include "cli/cli.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/command.h"

namespace conclave {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};

Outcome call(std::vector<std::string> words) {
  words.insert(words.begin(), "conclave");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = run_command_line(static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(CommandLineTest, HelpAndVersionAreNoErrors) {
  for (const char* word : {"--help", "-h", "help"}) {
    const Outcome outcome = call({word});
    EXPECT_EQ(outcome.code, 0);
    for (const CommandEntry& command : commands())
      EXPECT_NE(outcome.out.find(command.name), std::string::npos) << command.name;
    EXPECT_EQ(outcome.err, "");
  }
  EXPECT_EQ(call({"--version"}).out.substr(0, 9), "conclave ");
  EXPECT_EQ(call({}).code, 2);
}

TEST(CommandLineTest, EveryCommandExplainsItselfOrIsRefusedByName) {
  for (const CommandEntry& command : commands()) {
    const Outcome outcome = call({command.name, "--help"});
    if (command.run != nullptr) {
      EXPECT_EQ(outcome.code, 0) << command.name;
      EXPECT_NE(outcome.out.find(std::string("usage: conclave ") + command.name), std::string::npos) << command.name;
    } else {
      EXPECT_EQ(outcome.code, 2) << command.name;
      EXPECT_NE(outcome.err.find(std::string("'") + command.name + "' is not available yet"), std::string::npos)
          << outcome.err;
    }
  }
}

TEST(CommandLineTest, TheNamesOfTheDesignAreThereOnce) {
  std::multiset<std::string> names;
  for (const CommandEntry& command : commands()) names.insert(command.name);
  for (const char* name : {"train", "preprocess", "generate", "eval", "convert", "upcycle", "verify-layout", "parity",
                           "plan", "inspect", "bench", "launch", "golden"})
    EXPECT_EQ(names.count(name), 1u) << name;
}

TEST(CommandLineTest, AnUnknownCommandIsAnErrorOfUseWithTheNearest) {
  const Outcome outcome = call({"goldn"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("unknown command 'goldn'; nearest: golden"), std::string::npos) << outcome.err;
}

TEST(CommandLineTest, GoldenChecksItsWords) {
  EXPECT_EQ(call({"golden", "a", "b"}).code, 2);
  EXPECT_EQ(call({"golden", "--no-such"}).code, 2);
  const Outcome outcome = call({"golden", "/no/such/directory"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("is no directory"), std::string::npos);
}

// Text to token files to the loss of a 3-gram model, through the doors that people use.
TEST(CommandLineTest, PreprocessThenNgram) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("conclave_cli_" + std::to_string(getpid()));
  fs::create_directories(folder);
  {
    std::ofstream text(folder / "in.txt");
    for (int i = 0; i < 100; ++i) text << "the cat sat on the mat " << i % 7 << "\n\n";
  }
  const Outcome made = call({"preprocess", "--input", (folder / "in.txt").string(), "--output-prefix",
                             (folder / "out").string(), "--tokenizer-type", "ByteTokenizer", "--append-eod"});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_NE(made.out.find("100 documents, 2700 tokens"), std::string::npos) << made.out;
  const Outcome measured =
      call({"ngram", "--data-path", (folder / "out_text_document").string(), "--split", "90,10,0", "--json"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const Json report = Json::parse(measured.out, "output");
  EXPECT_EQ(report.at("counted_tokens").as_int(), 2430);
  EXPECT_EQ(report.at("valid").at("tokens").as_int(), 270);
  EXPECT_LT(report.at("valid").at("loss").as_double(), 0.5);
  EXPECT_FALSE(report.contains("test"));
  EXPECT_EQ(call({"ngram"}).code, 2);
  EXPECT_EQ(call({"preprocess", "--input", "x"}).code, 2);
  fs::remove_all(folder);
}

TEST(PlanTest, DrawsAPipelineFromTheOptionsThatDecideIt) {
  const std::vector<std::string> words = {"plan",
                                          "--draw",
                                          "--num-layers",
                                          "6",
                                          "--pipeline-model-parallel-size",
                                          "2",
                                          "--num-virtual-stages-per-pipeline-rank",
                                          "3",
                                          "--micro-batch-size",
                                          "1",
                                          "--global-batch-size",
                                          "2"};
  const Outcome drawn = call(words);
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  EXPECT_EQ(drawn.out.substr(0, drawn.out.find("\n\n")),
            "rank 0: embedding, layer 0 | layer 2 | layer 4\nrank 1: layer 1 | layer 3 | layer 5, loss");
  EXPECT_NE(drawn.out.find("2 ranks, 2 micro-batches forward and backward, 3 chunks on each rank, groups of 2"),
            std::string::npos);
  EXPECT_NE(drawn.out.find("rank 1, at most 5 forwards held: <a0.0 <a1.0 F0.0"), std::string::npos) << drawn.out;
  std::vector<std::string> svg = words;
  svg.insert(svg.end(), {"--draw-format", "svg"});
  EXPECT_EQ(call(svg).out.substr(0, 5), "<svg ");
}

TEST(PlanTest, TellsWhatARankOfEachStageHolds) {
  const std::vector<std::string> words = {"plan",
                                          "--num-layers",
                                          "4",
                                          "--hidden-size",
                                          "64",
                                          "--num-attention-heads",
                                          "4",
                                          "--seq-length",
                                          "32",
                                          "--vocab-size",
                                          "100",
                                          "--num-experts",
                                          "4",
                                          "--disable-bias-linear",
                                          "--pipeline-model-parallel-size",
                                          "2",
                                          "--expert-model-parallel-size",
                                          "2",
                                          "--global-batch-size",
                                          "4"};
  const Outcome fewest = call(words);
  ASSERT_EQ(fewest.code, 0) << fewest.err;
  EXPECT_EQ(fewest.out.substr(0, fewest.out.find('\n')), "4 ranks, one of each pipeline stage; bytes at the peak");
  EXPECT_NE(fewest.out.find("embedding, layers 0-1"), std::string::npos) << fewest.out;
  EXPECT_NE(fewest.out.find("layers 2-3, loss"), std::string::npos) << fewest.out;
  std::vector<std::string> one = words;
  one.insert(one.end(), {"--world-size", "8", "--rank", "7"});
  const Outcome report = call(one);
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_EQ(report.out.substr(0, report.out.find('\n')), "rank 7 of 8, pipeline stage 1: layers 2-3, loss");
  one.back() = "8";
  EXPECT_NE(call(one).err.find("--rank must be below --world-size; got 8 and 8"), std::string::npos);
  std::vector<std::string> homeless = words;
  homeless.insert(homeless.end(), {"--rank", "1"});
  EXPECT_NE(call(homeless).err.find("add --world-size N"), std::string::npos);
}

TEST(PlanTest, RefusesWhatDoesNotFitWithTheValuesThatDo) {
  EXPECT_EQ(call({"plan"}).code, 2);
  EXPECT_EQ(call({"plan", "--draw", "more"}).code, 2);
  EXPECT_NE(call({"plan", "--draw"}).err.find("--num-layers"), std::string::npos);
  const Outcome outcome = call({"plan", "--draw", "--num-layers", "12", "--pipeline-model-parallel-size", "2",
                                "--num-virtual-stages-per-pipeline-rank", "4", "--global-batch-size", "4"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("choose --num-virtual-stages-per-pipeline-rank from 1, 2, 3, 6"), std::string::npos)
      << outcome.err;
  EXPECT_EQ(call({"plan", "--draw", "--num-layers", "8", "--pipeline-model-parallel-size", "4",
                  "--num-virtual-stages-per-pipeline-rank", "2", "--global-batch-size", "3"})
                .code,
            2);
}

// Every option of `conclave preprocess` at the door: each run's documents and tokens are those it must give.
TEST(CommandLineTest, PreprocessOptions) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("conclave_cli_options_" + std::to_string(getpid()));
  fs::create_directories(folder);
  const auto path = [&](const char* name) { return (folder / name).string(); };
  std::ofstream(path("a.txt")) << "ab\ncd\n\nefg\n";
  std::ofstream(path("b.jsonl"))
      << "{\"text\": \"xyz\", \"title\": \"t\"}\nno json\n{\"text\": \"q\", \"title\": \"uv\"}\n";
  const auto made = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"preprocess", "--output-prefix", path("out"), "--tokenizer-type", "ByteTokenizer"});
    const Outcome outcome = call(words);
    return outcome.code == 0 ? outcome.out.substr(0, outcome.out.find(" from ")) : "error: " + outcome.err;
  };
  const std::string text = path("a.txt"), lines = path("b.jsonl");
  EXPECT_EQ(made({"--input", text}), "2 documents, 11 tokens");  // "ab\ncd\n\n", "efg\n"
  EXPECT_EQ(made({"--input", text, "--append-eod"}), "2 documents, 13 tokens");
  EXPECT_EQ(made({"--input", text, "--text-documents", "line"}), "3 documents, 7 tokens");
  EXPECT_EQ(made({"--input", text, "--text-documents", "file"}), "1 documents, 11 tokens");
  EXPECT_EQ(made({"--input", text, text, "--workers", "3"}), "4 documents, 22 tokens");
  EXPECT_NE(made({"--input", lines}).find("b.jsonl:2"), std::string::npos);
  EXPECT_EQ(made({"--input", lines, "--skip-bad-lines"}), "2 documents, 4 tokens");
  EXPECT_EQ(made({"--input", text, lines, "--skip-bad-lines"}), "4 documents, 15 tokens");
  EXPECT_EQ(made({"--input", lines, "--skip-bad-lines", "--json-keys", "text", "title"}), "2 documents, 7 tokens");
  for (const char* file : {"out_text_document.bin", "out_title_document.bin", "out_title_document.idx"})
    EXPECT_TRUE(fs::exists(folder / file)) << file;
  for (const char* packer : {"gzip -k", "zstd -q -k"}) {
    if (std::system((std::string(packer) + " " + text + " 2>/dev/null").c_str()) != 0) continue;  // not installed
    EXPECT_EQ(made({"--input", text + (packer[0] == 'g' ? ".gz" : ".zst")}), "2 documents, 11 tokens") << packer;
  }
  EXPECT_NE(made({"--input", text, "--text-documents", "page"}).find("paragraph, line, file"), std::string::npos);
  fs::remove_all(folder);
}

// A template's tokens around each text, on request.
TEST(CommandLineTest, PreprocessAddsTheTokenizersOwnTokens) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("conclave_cli_special_" + std::to_string(getpid()));
  fs::create_directories(folder);
  const std::string text = (folder / "a.txt").string(), model = (folder / "tokenizer.json").string();
  std::ofstream(text) << "ab";
  std::ofstream(model) << R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<s>": 2}, "merges": []},
    "added_tokens": [{"id": 2, "content": "<s>", "special": true}],
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
      {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}}}})";
  const std::vector<std::string> words = {"preprocess",
                                          "--input",
                                          text,
                                          "--output-prefix",
                                          (folder / "out").string(),
                                          "--tokenizer-type",
                                          "HuggingFaceTokenizer",
                                          "--tokenizer-model",
                                          model};
  EXPECT_NE(call(words).out.find("1 documents, 2 tokens"), std::string::npos) << call(words).err;
  std::vector<std::string> more = words;
  more.push_back("--add-special-tokens");
  EXPECT_NE(call(more).out.find("1 documents, 3 tokens"), std::string::npos) << call(more).err;
  fs::remove_all(folder);
}

TEST(CommandLineTest, WhatIsMissingIsAnErrorOfUse) {
  EXPECT_EQ(call({"eval"}).code, 2);
  EXPECT_EQ(call({"generate"}).code, 2);
  const Outcome outcome = call({"generate", "--load", "/no/such/run", "--prompt", "a"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("give the --save directory of a run"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace conclave
