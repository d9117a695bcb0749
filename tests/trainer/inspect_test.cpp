#include "trainer/inspect.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <span>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/part_writer.h"
#include "data/indexed_dataset.h"
#include "trainer/metrics.h"
#include "trainer/text_table.h"

namespace conclave {
namespace {

std::string error_text(const std::string& path) {
  try {
    inspect_path(path);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

class Inspect : public testing::Test {
 protected:
  std::string folder_ = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "conclave_inspect_XXXXXX").string();
    CONCLAVE_CHECK(::mkdtemp(pattern.data()) != nullptr, "no temporary folder");
    return pattern;
  }();
  std::string run_ = folder_ + "/run";
  ~Inspect() override { std::filesystem::remove_all(folder_); }

  std::string write_checkpoint(int64_t iteration, float value) {
    const std::vector<float> weight(12, value), bias(4, 1.0f);
    const auto bytes = [](const std::vector<float>& values) { return std::as_bytes(std::span<const float>(values)); };
    make_directories(run_);
    PartialDirectory partial(run_, iteration);
    Manifest manifest;
    manifest.iteration = iteration;
    manifest.time = 1e9;
    manifest.state["options"]["num_layers"] = 2;
    manifest.state["run_id"] = "abc";
    const ShardSpec matrix = ShardSpec::whole({3, 4}), vector = ShardSpec::whole({4});
    const RankPart part = write_rank_part(
        partial.path(), 0,
        {CheckpointTensor::from_bytes("decoder.weight", DType::kF32, matrix, bytes(weight)),
         CheckpointTensor::from_bytes("decoder.mlp.router.expert_bias", DType::kF32, vector, bytes(bias)),
         CheckpointTensor::from_bytes("optimizer.exp_avg.decoder.weight", DType::kF32, matrix, bytes(weight))},
        1 << 30);
    manifest.ranks = {part.entry};
    manifest.tensor_bytes = part.tensor_bytes;
    return partial.commit(manifest, {});
  }

  void write_metrics() {
    make_directories(run_);
    MetricsWriter writer(run_ + "/metrics.jsonl", {"abc", 1, nullptr});
    for (int64_t iteration = 10; iteration <= 300; iteration += 10) {
      TrainRecord record;
      record.iteration = iteration;
      record.losses = {{"lm_loss", 5.0 - static_cast<double>(iteration) / 100}};
      record.skipped = iteration == 50 ? 2 : 0;
      writer.write(record);
    }
    writer.write(metrics_json_eval(300, "valid", 2.0));
    writer.write(metrics_json_experts(200, 0, {1, 1, 1, 1}));
    writer.write(metrics_json_experts(300, 0, {6, 2, 0, 0}));
    Json event = Json::object();
    event["kind"] = "event";
    event["text"] = "loss spike";
    writer.write(event);
  }
};

TEST_F(Inspect, Checkpoint) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const std::string directory = write_checkpoint(100, 0.5f);
  const Inspection found = inspect_path(directory + "/");
  EXPECT_EQ(found.text, "checkpoint " + directory +
                            "\n"
                            "  iteration 100, written 2001-09-09 01:46:40 by 1 rank\n"
                            "  12 parameters (12) in 48 B; optimizer states and buffers 64 B\n"
                            "\n"
                            "state\n"
                            "  options.num_layers: 2\n"
                            "  run_id: abc\n"
                            "\n"
                            "tensor                            dtype  shape   bytes\n"
                            "decoder.mlp.router.expert_bias    f32    [4]      16 B\n"
                            "decoder.weight                    f32    [3, 4]   48 B\n"
                            "optimizer.exp_avg.decoder.weight  f32    [3, 4]   48 B\n");
  EXPECT_EQ(found.json.at("parameters").as_int(), 12);
  EXPECT_EQ(found.json.at("iteration").as_int(), 100);
  EXPECT_EQ(found.json.at("tensors").size(), 3u);
  EXPECT_EQ(found.json.at("state").at("options").at("num_layers").as_int(), 2);
}

TEST_F(Inspect, VerifyNamesWhatIsWrong) {
  write_checkpoint(100, 0.5f);
  const std::string directory = write_checkpoint(200, 0.5f);
  EXPECT_TRUE(verify_path(run_).sound);
  EXPECT_EQ(verify_path(directory).text, directory + ": every checksum is right\n");
  const std::string path = directory + "/rank_00000.safetensors";
  std::string bytes = read_file(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  const Inspection found = verify_path(run_);
  EXPECT_FALSE(found.sound);
  EXPECT_NE(found.text.find("iter_0000100: every checksum is right"), std::string::npos) << found.text;
  EXPECT_NE(found.text.find(path + ", tensor 'optimizer.exp_avg.decoder.weight': bytes "), std::string::npos)
      << found.text;
  EXPECT_NE(found.text.find("iter_0000200: 1 faults; load an earlier one with --ckpt-step 100"), std::string::npos)
      << found.text;
  EXPECT_EQ(found.json.at("checkpoints").at(size_t{1}).at("faults").size(), 1u);
}

TEST_F(Inspect, Compare) {
  const std::string a = write_checkpoint(100, 0.5f), b = write_checkpoint(200, 0.75f);
  EXPECT_TRUE(compare_paths(a, a).sound);
  const Inspection found = compare_paths(a, run_);  // a run stands for its latest
  EXPECT_FALSE(found.sound);
  EXPECT_NE(found.text.find("second: " + b), std::string::npos);
  EXPECT_NE(found.text.find("decoder.weight                    12 elements, largest difference 0.25 (relative 0.333), "
                            "first at [0, 0]: 0.5 and 0.75\n"),
            std::string::npos)
      << found.text;
  EXPECT_NE(found.text.find("1 tensors equal bit for bit, 2 not"), std::string::npos) << found.text;
}

TEST_F(Inspect, Run) {
  write_checkpoint(100, 0.5f);
  write_checkpoint(300, 0.5f);
  write_metrics();
  const Inspection found = inspect_path(run_);
  EXPECT_NE(found.text.find("run id abc"), std::string::npos);
  EXPECT_NE(found.text.find("latest checkpoint: 300"), std::string::npos);
  EXPECT_NE(found.text.find("\n       10      4.9\n"), std::string::npos) << found.text;
  EXPECT_NE(found.text.find("\n      300        2\n"), std::string::npos);
  EXPECT_NE(found.text.find("2 steps were skipped"), std::string::npos);
  EXPECT_NE(found.text.find("load of the experts at iteration 300\n"
                            "layer  experts  assignments  max/mean  entropy  dead\n"
                            "    0        4            8      3.00    0.406     2\n"),
            std::string::npos)
      << found.text;
  EXPECT_NE(found.text.find("loss spike"), std::string::npos);
  EXPECT_EQ(found.json.at("train_lines").as_int(), 30);
  EXPECT_EQ(found.json.at("last").at("lm_loss").as_double(), 2.0);
  EXPECT_EQ(found.json.at("checkpoints").size(), 2u);
  EXPECT_EQ(found.json.at("eval").size(), 1u);
  EXPECT_TRUE(found.sound);

  remove_all(run_ + "/iter_0000300/manifest.json");
  std::ofstream(run_ + "/iter_0000300/manifest.json") << "{}";
  const Inspection damaged = inspect_path(run_);
  EXPECT_FALSE(damaged.sound);
  EXPECT_NE(damaged.text.find("damaged"), std::string::npos);
}

TEST_F(Inspect, Dataset) {
  const std::string prefix = folder_ + "/corpus_text_document";
  IndexedDatasetBuilder builder(prefix, DType::kU16);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  for (const size_t length : {5, 2, 4}) {
    builder.add_sequence(std::span<const int32_t>(tokens).first(length));
    builder.end_document();
  }
  builder.finalize();
  for (const std::string& path : {prefix, prefix + ".idx", prefix + ".bin"}) {
    const Inspection found = inspect_path(path);
    EXPECT_EQ(found.text, "data set " + prefix +
                              "\n"
                              "  3 documents in 3 sequences, 11 tokens (11) of u16, 22 B\n"
                              "  tokens in a sequence: 2 to 5, 3.7 on average\n");
    EXPECT_EQ(found.json.at("tokens").as_int(), 11);
  }
  EXPECT_TRUE(verify_path(prefix).sound);
}

TEST_F(Inspect, SaysWhatItLookedFor) {
  EXPECT_EQ(error_text(folder_), "[trainer/inspect] directory '" + folder_ +
                                     "' is neither a checkpoint (manifest.json) nor a run (iter_... directories or "
                                     "metrics.jsonl); check the path");
  EXPECT_EQ(error_text(folder_ + "/x"), "[trainer/inspect] there is no directory '" + folder_ +
                                            "/x' and no data set '" + folder_ + "/x.idx'; check the path");
}

TEST(TextTable, Aligns) {
  EXPECT_EQ(text_table({"name", ">n"}, {{"a", "10"}, {"long name", "9"}}),
            "name        n\n"
            "a          10\n"
            "long name   9\n");
}

}  // namespace
}  // namespace conclave
