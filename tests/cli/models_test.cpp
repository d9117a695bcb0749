// Models of others through the doors that people use: parity, convert, train, eval, upcycle.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "cli/cli.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code;
  std::string out, err;
};

class ModelCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = (fs::temp_directory_path() / ("conclave_models_" + std::to_string(::getpid()))).string();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string golden(const std::string& name) { return std::string(CONCLAVE_GOLDEN_DIR) + "/hf/" + name; }
  std::string in(const std::string& name) const { return root_ + "/" + name; }

  static Outcome call(std::vector<std::string> words) {
    words.insert(words.begin(), "conclave");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = run_command_line(static_cast<int>(argv.size()), argv.data());
    return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
  }
  static std::map<std::string, std::string> weights(const std::string& directory) {
    std::map<std::string, std::string> out;
    const SafetensorsFile file(directory + "/model.safetensors");
    for (const SafetensorsEntry& entry : file.entries())
      out[entry.name] = std::string(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    return out;
  }
  std::string root_;
};

TEST_F(ModelCommands, ParityTellsWhereAModelIsOff) {
  const std::string reference = golden("qwen3") + "/reference.safetensors";
  const Outcome good = call({"parity", "--hf", golden("qwen3"), "--reference", reference});
  EXPECT_EQ(good.code, 0) << good.out << good.err;
  EXPECT_NE(good.out.find("all within what is allowed"), std::string::npos);
  const Outcome all = call({"parity", "--hf", golden("qwen3"), "--reference", reference, "--print", "all"});
  EXPECT_NE(all.out.find("grad.model.layers.0.self_attn.q_norm.weight"), std::string::npos);
  const Outcome other =
      call({"parity", "--hf", golden("qwen3"), "--reference", golden("qwen2") + "/reference.safetensors"});
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.out.find("first out of tolerance: logits"), std::string::npos) << other.out;
  const Outcome json = call({"parity", "--hf", golden("qwen3"), "--reference", reference, "--json"});
  EXPECT_TRUE(Json::parse(json.out, "out").at("passed").as_bool());
  EXPECT_EQ(call({"parity", "--hf", golden("qwen3")}).code, 2);
  const Outcome bf16 = call({"parity", "--hf", golden("qwen3"), "--reference", reference, "--dtype", "bf16"});
  EXPECT_EQ(bf16.code, 0) << bf16.out;
}

TEST_F(ModelCommands, ConvertThereAndBack) {
  const Outcome there =
      call({"convert", "--from", "hf", "--to", "conclave", "--input", golden("mixtral"), "--output", in("c")});
  ASSERT_EQ(there.code, 0) << there.err;
  const Outcome back = call({"convert", "--from", "conclave", "--to", "hf", "--input", in("c"), "--output", in("hf")});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(weights(golden("mixtral")), weights(in("hf")));
  EXPECT_EQ(call({"convert", "--from", "hf", "--to", "hf", "--input", in("hf"), "--output", in("x")}).code, 2);
  EXPECT_EQ(call({"convert", "--from", "hf", "--to", "conclave", "--input", in("hf")}).code, 2);
  const Outcome inspected = call({"inspect", in("c")});
  EXPECT_EQ(inspected.code, 0) << inspected.err;
}

// Trains from a Hugging Face model and goes back, once from the live model and once from the checkpoint.
TEST_F(ModelCommands, TrainFromOneAndExportWhileTraining) {
  const std::vector<std::string> train = {
      "train",  "--mock-data", "--seq-length", "16", "--micro-batch-size", "2", "--lr", "1e-3",
      "--save", in("run"),     "--eval-iters", "0",  "--train-iters"};
  std::vector<std::string> first = train;
  for (const char* word : {"2", "--load-hf"}) first.push_back(word);
  first.push_back(golden("qwen3_moe"));
  for (const char* word : {"--save-hf-interval", "2"}) first.push_back(word);
  const Outcome trained = call(first);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const std::string live = in("run") + "/hf/iter_0000002";
  ASSERT_TRUE(file_exists(live + "/config.json")) << trained.err;
  EXPECT_EQ(read_file(live + "/config.json"), read_file(golden("qwen3_moe") + "/config.json"));
  const Outcome back =
      call({"convert", "--from", "conclave", "--to", "hf", "--input", in("run"), "--output", in("hf")});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(weights(live), weights(in("hf")));
  EXPECT_NE(weights(live), weights(golden("qwen3_moe")));
  // The same command goes on from the run's own checkpoint.
  std::vector<std::string> more = train;
  for (const std::string& word : {std::string("3"), std::string("--override-opt-param-scheduler"),
                                  std::string("--load"), in("run"), std::string("--load-hf"), golden("qwen3_moe")})
    more.push_back(word);
  const Outcome resumed = call(more);
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("continuing at iteration 2"), std::string::npos) << resumed.err;
}

TEST_F(ModelCommands, ACheckpointThatWasImportedStartsARun) {
  ASSERT_EQ(
      call({"convert", "--from", "hf", "--to", "conclave", "--input", golden("deepseek_v3"), "--output", in("c")}).code,
      0);
  const Outcome trained =
      call({"train", "--mock-data", "--load", in("c"), "--use-checkpoint-args", "--seq-length", "16",
            "--micro-batch-size", "2", "--lr", "1e-3", "--train-iters", "2", "--eval-iters", "0", "--save", in("run")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome back =
      call({"convert", "--from", "conclave", "--to", "hf", "--input", in("run"), "--output", in("hf")});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(read_file(golden("deepseek_v3") + "/config.json"), read_file(in("hf") + "/config.json"));
}

TEST_F(ModelCommands, UpcycleAtRunTimeThenExportAsMixtral) {
  const Outcome trained = call({"train",
                                "--mock-data",
                                "--load-hf",
                                golden("mistral"),
                                "--moe-use-upcycling",
                                "--num-experts",
                                "4",
                                "--moe-router-topk",
                                "2",
                                "--seq-length",
                                "16",
                                "--micro-batch-size",
                                "2",
                                "--lr",
                                "1e-4",
                                "--train-iters",
                                "1",
                                "--eval-iters",
                                "0",
                                "--save",
                                in("run")});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_TRUE(is_directory(in("run") + "/iter_0000000"));
  const Outcome back =
      call({"convert", "--from", "conclave", "--to", "hf", "--input", in("run"), "--output", in("hf")});
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(Json::parse(read_file(in("hf") + "/config.json"), "config").at("model_type").as_string(), "mixtral");
  const Outcome made = call({"upcycle", "--load-hf", golden("qwen3"), "--num-experts", "4", "--save", in("offline")});
  EXPECT_EQ(made.code, 0) << made.err;
  const Outcome exported =
      call({"convert", "--from", "conclave", "--to", "hf", "--input", in("offline"), "--output", in("q")});
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_EQ(Json::parse(read_file(in("q") + "/config.json"), "config").at("model_type").as_string(), "qwen3_moe");
}

}  // namespace
}  // namespace conclave
