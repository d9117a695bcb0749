#include "trainer/metrics.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

class MetricsFile : public testing::Test {
 protected:
  std::string folder_ = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "conclave_metrics_XXXXXX").string();
    CONCLAVE_CHECK(::mkdtemp(pattern.data()) != nullptr, "no temporary folder");
    return pattern;
  }();
  std::string path_ = folder_ + "/metrics.jsonl";
  ~MetricsFile() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> lines() const {
    std::vector<std::string> out = split(read_file(path_), '\n');
    EXPECT_EQ(out.back(), "");
    out.pop_back();
    return out;
  }
  static TrainRecord record(int64_t iteration, double loss) {
    TrainRecord out;
    out.iteration = iteration;
    out.consumed_samples = iteration * 4;
    out.losses = {{"lm_loss", loss}};
    return out;
  }
};

TEST_F(MetricsFile, LinesAreAsTheFormatSays) {
  Json layout = Json::object();
  layout["tp"] = 1;
  MetricsWriter writer(path_, {"run-a", 1, layout});
  TrainRecord full = record(10, 0.1);
  full.losses.emplace_back("load_balancing_loss", 1.5);
  full.losses.emplace_back("z_loss", 1e-9);
  full.grad_norm = 2.0;
  full.learning_rate = 1e-4;
  full.skipped = 1;
  full.step_ms = 12.5;
  full.tokens_per_second = 1000.0;
  full.tflops = 0.125;
  full.peak_bytes = int64_t{1} << 40;
  full.extra = {{"time", 5.5}};
  writer.write(full);
  Json save = Json::object();
  save["kind"] = "save";
  save["iteration"] = 10;
  writer.write(save);
  const auto all = lines();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(
      all[0].starts_with(R"({"kind":"run","schema":1,"run_id":"run-a","world_size":1,"layout":{"tp":1},"time":)"));
  EXPECT_EQ(all[1], R"({"kind":"train","iteration":10,"consumed_samples":40,"lm_loss":0.1,"load_balancing_loss":1.5,)"
                    R"("z_loss":1e-09,"grad_norm":2.0,"learning_rate":1e-04,"skipped":1,"step_ms":12.5,)"
                    R"("tokens_per_second":1000.0,"tflops":0.125,"peak_bytes":1099511627776,"time":5.5})");
  EXPECT_TRUE(all[2].starts_with(R"({"kind":"save","iteration":10,"time":)"));
  EXPECT_EQ(metrics_json_eval(3, "valid", 0.0).dump(),
            R"({"kind":"eval","iteration":3,"split":"valid","lm_loss":0.0,"ppl":1.0})");
  EXPECT_EQ(metrics_json_experts(3, 1, {4, 0, 2}).dump(),
            R"({"kind":"experts","iteration":3,"layer":1,"tokens":[4,0,2]})");
}

TEST_F(MetricsFile, FloatsReadBackToTheSameBits) {
  MetricsWriter writer(path_, {"a", 1, nullptr});
  uint64_t bits = 1;
  std::vector<double> values;
  for (int i = 0; i < 2000; ++i) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    const double value = std::bit_cast<double>(bits);
    values.push_back(std::isfinite(value) ? value : static_cast<double>(i));
    writer.write(record(i + 1, values.back()));
  }
  const Metrics metrics = read_metrics(path_);
  ASSERT_EQ(metrics.train.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint64_t>(metrics.train[i].at("lm_loss").as_double()), std::bit_cast<uint64_t>(values[i]));
  }
}

TEST_F(MetricsFile, EachLineIsThereAtOnce) {
  MetricsWriter writer(path_, {"a", 1, nullptr});
  for (int i = 1; i <= 5; ++i) {
    writer.write(record(i, 1));
    EXPECT_EQ(lines().size(), static_cast<size_t>(i) + 1);  // no flush in between
  }
}

TEST_F(MetricsFile, ResumeCutsATornLineAndKeepsTheRun) {
  {
    MetricsWriter writer(path_, {"first", 1, nullptr});
    for (int i = 1; i <= 3; ++i) writer.write(record(i, i));
  }
  std::ofstream(path_, std::ios::app) << R"({"kind":"train","iteration":4,"lm_lo)";
  EXPECT_EQ(read_metrics(path_).train.size(), 3u);  // a reader does not trip over it
  {
    MetricsWriter writer(path_, {"second", 2, nullptr});
    EXPECT_EQ(writer.run_id(), "first");
    writer.write(record(3, 30));  // trained again from iteration 2
    writer.write(record(4, 4));
  }
  EXPECT_EQ(lines().size(), 6u);
  const Metrics metrics = read_metrics(path_);
  ASSERT_EQ(metrics.train.size(), 4u);
  EXPECT_EQ(metrics.train[2].at("lm_loss").as_double(), 30);  // the later line counts
  EXPECT_EQ(metrics.train[3].at("iteration").as_int(), 4);
  EXPECT_EQ(metrics.run.at("run_id").as_string(), "first");
}

TEST_F(MetricsFile, TornFirstLineStartsAnew) {
  std::ofstream(path_) << R"({"kind":"ru)";
  MetricsWriter writer(path_, {"second", 2, nullptr});
  EXPECT_EQ(lines().size(), 1u);
  EXPECT_EQ(writer.run_id(), "second");
}

TEST_F(MetricsFile, ForeignAndDamagedFilesAreNamed) {
  std::ofstream(path_) << "epoch,loss\n1,2\n";
  EXPECT_THROW(MetricsWriter(path_, {"a", 1, nullptr}), UserError);
  EXPECT_EQ(lines().size(), 2u);  // untouched
  std::ofstream(path_) << "{\"kind\":\"run\",\"run_id\":\"a\"}\n{\"kind\":\"train\"}\n";
  try {
    read_metrics(path_);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(std::string(error.what()),
              "[trainer/metrics] '" + path_ + "', line 2: JSON: key 'iteration' is missing; remove the line");
  }
}

TEST_F(MetricsFile, ReplacementIsByIterationSplitAndLayer) {
  MetricsWriter writer(path_, {"a", 1, nullptr});
  for (const double loss : {3.0, 2.0}) {
    writer.write(metrics_json_eval(20, "valid", loss));
    writer.write(metrics_json_eval(20, "test", loss + 1));
    writer.write(metrics_json_eval(10, "valid", loss + 2));
    writer.write(metrics_json_experts(20, 1, {1, static_cast<int64_t>(loss)}));
    writer.write(metrics_json_experts(20, 0, {2, 2}));
  }
  const Metrics metrics = read_metrics(path_);
  ASSERT_EQ(metrics.eval.size(), 3u);
  EXPECT_EQ(metrics.eval[0].at("lm_loss").as_double(), 4);
  EXPECT_EQ(metrics.eval[2].at("lm_loss").as_double(), 2);
  ASSERT_EQ(metrics.experts.size(), 2u);
  EXPECT_EQ(metrics.experts[1].at("tokens").at(size_t{1}).as_int(), 2);
}

TEST(Perplexity, IsCutAndKeepsNan) {
  EXPECT_EQ(perplexity(0), 1);
  EXPECT_EQ(perplexity(30), std::exp(20.0));
  EXPECT_EQ(perplexity(std::numeric_limits<double>::infinity()), std::exp(20.0));
  EXPECT_TRUE(std::isnan(perplexity(std::numeric_limits<double>::quiet_NaN())));
}

}  // namespace
}  // namespace conclave
