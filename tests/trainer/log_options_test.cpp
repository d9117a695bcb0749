// What the options of the log add to it: each shows its effect, and nothing where it is not given.
#include <gtest/gtest.h>

#include <map>

#include "base/text.h"
#include "trainer/metrics.h"
#include "trainer/small_runs.h"
#include "trainer/step_times.h"
#include "trainer/tensorboard.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

class LogOptions : public SmallRuns {
 protected:
  /// Trains six steps with a checkpoint after every third.
  void run(const std::string& more) {
    fs::remove_all(root_ + "/run");
    ASSERT_EQ(train("--lr 1e-3 --train-iters 6 --save-interval 3 --save " + root_ + "/run " + more), 0) << output_;
  }
  /// How many events of the run have this tag.
  int64_t events(const std::string& tag) const {
    WireMessage field;
    field.add_bytes(1, tag);
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(root_ + "/run/tensorboard")) {
      for (const std::string& record : read_event_records(entry.path().string()))
        count += record.find(field.bytes()) != std::string::npos ? 1 : 0;
    }
    return count;
  }
  /// The number after `name` in the first line that has it.
  double number_after(const std::string& name) const {
    const size_t place = output_.find(name);
    EXPECT_NE(place, std::string::npos) << name << " in " << output_;
    return place == std::string::npos ? -1 : std::strtod(output_.c_str() + place + name.size(), nullptr);
  }
};

TEST_F(LogOptions, LargestAttentionLogit) {
  run("");
  EXPECT_FALSE(printed("max attention logit"));
  run("--log-max-attention-logit --log-layer-stats-interval 3");
  EXPECT_TRUE(printed(" max attention logit: ")) << output_;
  EXPECT_EQ(events("max_attention_logit"), 6);
  const Metrics metrics = read_metrics(root_ + "/run/metrics.jsonl");
  std::map<int64_t, double> by_layers;
  for (const Json& record : metrics.others) {
    if (record.at("kind").as_string() != "layers") continue;
    double& largest = by_layers.try_emplace(record.at("iteration").as_int(), -1e9).first->second;
    for (const char* layer : {"0", "1"})
      largest = std::max(largest, record.at(std::string("max-attention-logit/decoder.layers.") + layer).as_double());
    EXPECT_GT(record.at("max-router-logit/decoder.layers.1").as_double(), 0);
    EXPECT_GT(record.at("activation-grad-norm/decoder.layers.0").as_double(), 0);
    EXPECT_GT(record.at("grad-norm/decoder.layers.0.mlp.router.weight").as_double(), 0);
  }
  ASSERT_EQ(by_layers.size(), 2u);
  for (const auto& [iteration, largest] : by_layers)
    EXPECT_EQ(metrics.train[static_cast<size_t>(iteration - 1)].at("max_attention_logit").as_double(), largest);
}

TEST_F(LogOptions, TimesOfAStep) {
  run("");
  EXPECT_FALSE(printed("forward-backward"));
  run("--timing-log-level 1 --log-interval 6");
  EXPECT_TRUE(printed("(min, max) time across ranks (ms):\n    forward-backward ...")) << output_;
  EXPECT_TRUE(printed("    optimizer ...")) << output_;
  EXPECT_FALSE(printed("forward-compute")) << output_;
  run("--timing-log-level 2 --timing-log-option max --log-interval 6 --log-timers-to-tensorboard");
  EXPECT_TRUE(printed("\nmax time across ranks (ms):\n")) << output_;
  const auto time = [&](const std::string& name) {
    std::string key = "    " + name + " ";
    key.append(52 - key.size(), '.');
    return number_after(key + ": ");
  };
  EXPECT_GT(time("batch-generator"), 0);
  EXPECT_GT(time("optimizer-inner-step"), 0);
  EXPECT_NEAR(time("forward-compute") + time("backward-compute"), time("forward-backward"), 0.02);
  EXPECT_LT(time("forward-backward") + time("optimizer"), number_after("elapsed time per iteration (ms): ") + 0.06);
  EXPECT_EQ(events("forward-compute-time"), 6);
  run("--timing-log-level 1 --timing-log-option all --log-interval 6");
  EXPECT_TRUE(printed("times across ranks (ms):\n  forward-backward:\n     rank  0: ")) << output_;
  EXPECT_EQ(events("forward-backward-time"), 0);
}

TEST(StepTimes, MeansOverTheSteps) {
  NamedTimes times;
  times.add("a", 0.5);
  times.add("b", 0.25);
  times.add("a", 0.5);
  NamedTimes more;
  more.add("a", 1.0);
  times.add(more);
  EXPECT_EQ(times_text({times}, 4, "all"),
            "times across ranks (ms):\n  a:\n     rank  0: 500.00\n  b:\n     rank  0: 62.50");
  NamedTimes other;
  other.add("a", 1.0);
  EXPECT_EQ(times_text({times, other}, 4, "all"),
            "times across ranks (ms):\n  a:\n     rank  0: 500.00\n     rank  1: 250.00\n  b:\n     rank  0: 62.50\n   "
            "  rank  "
            "1: 0.00");
  EXPECT_TRUE(times_text({times, other}, 4, "max")
                  .ends_with(": 500.00\n    b ..............................................: 62.50"))
      << times_text({times, other}, 4, "max");
  EXPECT_TRUE(times_text({times, other}, 4, "minmax").ends_with(": (0.00, 62.50)"))
      << times_text({times, other}, 4, "minmax");
}

TEST_F(LogOptions, PointsOfTensorBoardHaveTheirOwnInterval) {
  run("--log-interval 4");
  EXPECT_EQ(events("lm loss"), 6);
  EXPECT_EQ(events("load_balancing_loss"), 6);
  EXPECT_EQ(events("experts/tokens_layer_1"), 6);
  run("--log-interval 1 --tensorboard-log-interval 3");
  EXPECT_EQ(events("lm loss"), 2);
  EXPECT_EQ(events("experts/tokens_layer_1"), 2);
  const Metrics metrics = read_metrics(root_ + "/run/metrics.jsonl");
  EXPECT_EQ(metrics.train.size(), 6u);
  // Every row is in the counts of lines, whatever TensorBoard takes: 4 sequences of 32 tokens to two experts each.
  for (const Json& record : metrics.experts) {
    int64_t rows = 0;
    for (const Json& count : record.at("tokens").as_array()) rows += count.as_int();
    EXPECT_EQ(rows, 4 * 32 * 2);
  }
}

// Ranks that write nothing take part in what the one that writes measures, also at steps that only TensorBoard hears
// of.
TEST_F(LogOptions, RanksMeasureTogether) {
  run("--ranks-as-threads 2 --expert-model-parallel-size 2 --log-interval 4 --check-collectives");
  EXPECT_EQ(events("experts/tokens_layer_1"), 6);
}

TEST_F(LogOptions, MemoryRanksAndPerplexityInTensorBoard) {
  const char* kMemory = "mem-allocated-bytes";
  run("--eval-iters 2 --eval-interval 3");
  EXPECT_EQ(events("lm loss validation"), 2);
  for (const char* tag : {kMemory, "world-size", "lm loss validation ppl"}) EXPECT_EQ(events(tag), 0) << tag;
  run("--eval-iters 2 --eval-interval 3 --log-memory-to-tensorboard --log-world-size-to-tensorboard "
      "--log-validation-ppl-to-tensorboard");
  EXPECT_EQ(events(kMemory), 6);
  EXPECT_EQ(events("mem-max-allocated-bytes/optimizer"), 6);
  EXPECT_EQ(events("world-size"), 6);
  EXPECT_EQ(events("lm loss validation ppl"), 2);
}

TEST_F(LogOptions, LinesAtTheirInterval) {
  const auto lines = [&] {
    int64_t count = 0;
    for (const std::string& line : split(output_, '\n')) count += line.find(" elapsed time per iteration") != line.npos;
    return count;
  };
  run("");
  EXPECT_EQ(lines(), 6);
  run("--log-interval 2");
  EXPECT_EQ(lines(), 3);
  EXPECT_EQ(read_metrics(root_ + "/run/metrics.jsonl").train.size(), 3u);
}

TEST_F(LogOptions, EvaluationsAtTheirInterval) {
  const auto evaluations = [&](const std::string& more) {
    run(more);
    return read_metrics(root_ + "/run/metrics.jsonl").eval;
  };
  EXPECT_EQ(evaluations("--eval-interval 2").size(), 0u);  // SmallRuns says --eval-iters 0
  const std::vector<Json> every_second = evaluations("--eval-interval 2 --eval-iters 1 --split 80,10,10");
  ASSERT_EQ(every_second.size(), 4u);  // after 2, 4, 6, and the test at the end
  EXPECT_EQ(every_second[0].at("iteration").as_int(), 2);
  EXPECT_EQ(every_second[0].at("split").as_string(), "valid");
  // More steps of evaluation see more data: another number.
  const std::vector<Json> longer = evaluations("--eval-interval 2 --eval-iters 3 --split 80,10,10");
  EXPECT_NE(longer[0].at("lm_loss").as_double(), every_second[0].at("lm_loss").as_double());
}

TEST_F(LogOptions, LossesAndLoadsByLayer) {
  run("");
  EXPECT_EQ(events("moe/load_balancing_loss_layer_1"), 0);
  run("--moe-per-layer-logging --log-interval 3");
  EXPECT_EQ(events("moe/load_balancing_loss_layer_0"), 6);
  EXPECT_EQ(events("moe/load_balancing_loss_layer_1"), 6);
  size_t tables = 0;
  const std::string head = "share of rows by expert";
  for (size_t at = output_.find(head); at != std::string::npos; at = output_.find(head, at + 1)) ++tables;
  EXPECT_EQ(tables, 3u) << output_;  // at 3, at 6, and the closing one
}

TEST_F(LogOptions, TensorBoardInAnotherFolder) {
  run("--tensorboard-dir " + root_ + "/elsewhere");
  EXPECT_FALSE(file_exists(root_ + "/run/tensorboard"));
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ + "/elsewhere"), fs::directory_iterator{}), 1);
}

TEST_F(LogOptions, MemoryTableAtItsInterval) {
  run("");
  const std::string head = "activations";
  EXPECT_FALSE(printed(head)) << output_;
  run("--log-memory-interval 2");
  size_t tables = 0;
  for (size_t at = output_.find(head); at != std::string::npos; at = output_.find(head, at + 1)) ++tables;
  EXPECT_EQ(tables, 3u) << output_;
}

TEST_F(LogOptions, ProgressFile) {
  run("");
  EXPECT_FALSE(file_exists(root_ + "/run/progress.txt"));
  run("--log-progress --exit-interval 3");
  ASSERT_EQ(train("--lr 1e-3 --train-iters 6 --log-progress --save " + root_ + "/run --load " + root_ + "/run"), 0)
      << output_;
  const std::vector<std::string> lines = split(read_file(root_ + "/run/progress.txt"), '\n');
  ASSERT_EQ(lines.size(), 5u);
  const auto fields = [&](size_t line) { return split(lines[line], '\t'); };
  EXPECT_EQ(fields(0)[3], "Starting job");
  EXPECT_EQ(fields(0)[4], "Iteration: 0");
  EXPECT_EQ(fields(1)[3], "Saved checkpoint");
  EXPECT_EQ(fields(1)[4], "Iteration: 3");
  EXPECT_EQ(fields(2)[4], "Iteration: 3");
  EXPECT_EQ(fields(3)[4], "Iteration: 6");
  EXPECT_EQ(fields(3)[8], "Tokens (in billions): 0.000001");  // 6 steps of 4 sequences of 32 tokens
  EXPECT_EQ(fields(0)[1], fields(3)[1]);                      // the run's id
  const auto flops = [&](size_t line) { return *parse_double(fields(line)[7].substr(27)); };
  EXPECT_NEAR(flops(3), 2 * flops(1), 2e-3 * flops(3));
  double told = 0;  // what the six lines say
  for (const Json& record : read_metrics(root_ + "/run/metrics.jsonl").train)
    told += record.at("tflops").as_double() * 1e12 * record.at("step_ms").as_double() / 1e3;
  EXPECT_NEAR(flops(3), told, 2e-3 * told);
}

TEST_F(LogOptions, LevelOfMessages) {
  const std::string words = "--lr 1e-3 --train-iters 1 --load " + root_ + "/nothing";
  ASSERT_EQ(train(words), 0);
  EXPECT_TRUE(printed("warning: --load")) << output_;
  ASSERT_EQ(train(words + " --log-level error"), 0);
  EXPECT_FALSE(printed("warning: --load")) << output_;
  EXPECT_TRUE(printed("lm loss: ")) << output_;  // results are no messages
}

}  // namespace
}  // namespace conclave
