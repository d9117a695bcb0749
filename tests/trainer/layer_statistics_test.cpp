#include "trainer/layer_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/text.h"
#include "trainer/job.h"
#include "trainer/result_check.h"
#include "trainer/small_models.h"

namespace conclave {
namespace {

const Words kNoPositions = {"--position-embedding-type", "learned_absolute", "--attention-dropout", "0"};

// Keeps the QKV projections of each layer as they come.
class Projections final : public Observer {
 public:
  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override {
    if (!where.ends_with(".self_attention.linear_qkv")) return;
    shape = tensor.shape();
    seen[where.substr(0, where.find(".self_attention"))].push_back(to_host<float>(stream, tensor));
  }
  Shape shape;
  std::map<std::string, std::vector<std::vector<float>>> seen;
};

// Largest q·k / sqrt(D) of a causal pair, in double: [S,B,(q k v of each head)].
double largest_score(const std::vector<float>& qkv, int64_t sequence, int64_t batch, int64_t heads, int64_t size) {
  double largest = -std::numeric_limits<double>::infinity();
  const auto at = [&](int64_t s, int64_t b, int64_t h, int64_t part) {
    return qkv.data() + ((s * batch + b) * heads + h) * 3 * size + part * size;
  };
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < sequence; ++i) {
        for (int64_t j = 0; j <= i; ++j) {
          double sum = 0;
          for (int64_t d = 0; d < size; ++d) sum += static_cast<double>(at(i, b, h, 0)[d]) * at(j, b, h, 1)[d];
          largest = std::max(largest, sum / std::sqrt(static_cast<double>(size)));
        }
      }
    }
  }
  return largest;
}

TEST(LayerStatistics, LargestAttentionLogitIsTheDoubleReferences) {
  const Options options = small_moe(kNoPositions);
  const auto device = make_device("cpu");
  Projections projections;
  {
    Engine engine(options, options.model.vocab_size, *device, true);
    engine.executor().set_observer(&projections);
    take_step(engine, options, 0);
  }
  Engine engine(options, options.model.vocab_size, *device, true);
  LayerStatistics statistics(engine, LayerStatistics::Detail::kAttentionLogits);
  take_step(engine, options, 0);
  const auto measured = statistics.take();
  ASSERT_EQ(measured.size(), 4u);  // nothing but the logits of four layers
  double over_all = -1e9;
  for (const auto& [layer, micro_batches] : projections.seen) {
    double expected = -1e9;
    ASSERT_EQ(micro_batches.size(), 3u);
    for (const auto& qkv : micro_batches)
      expected = std::max(expected, largest_score(qkv, options.model.seq_length, 2, 4, 8));
    const double got = measured.at("max-attention-logit/" + layer);
    EXPECT_NEAR(got, expected, 1e-5 * std::fabs(expected)) << layer;
    over_all = std::max(over_all, got);
  }
  EXPECT_EQ(statistics.largest_attention_logit(), over_all);
}

std::map<std::string, double> all_statistics(const Words& words) {
  const Options options = small_moe(words);
  const auto device = make_device("cpu");
  Engine engine(options, options.model.vocab_size, *device, true);
  LayerStatistics statistics(engine, LayerStatistics::Detail::kAll);
  StepRequest request;
  request.rates = {.lr = 1e-2, .decoupled_lr = 1e-2, .weight_decay = 0.1, .step = 1};
  request.on_gradients = [&] { statistics.see_gradients(); };
  engine.train_step(random_batches(options, 0), request);
  return statistics.take();
}

TEST(LayerStatistics, RecomputationShowsNothingTwice) {
  const auto plain = all_statistics({});
  EXPECT_GT(plain.at("grad-norm/decoder.layers.0.mlp.router.weight"), 0);
  EXPECT_GT(plain.at("param-norm/decoder.layers.0.mlp.router.weight"), 0);
  EXPECT_EQ(plain, all_statistics({"--recompute-granularity", "full", "--recompute-method", "uniform",
                                   "--recompute-num-layers", "2"}));
  EXPECT_EQ(plain, all_statistics({"--recompute-granularity", "selective", "--recompute-modules", "core_attn", "moe"}));
}

// Of two layouts: every rank says what one process says.
class LayerStatisticsOfJobs : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Layouts, LayerStatisticsOfJobs,
    testing::Values("--ranks-as-threads 2 --tensor-model-parallel-size 2 --sequence-parallel",
                    "--ranks-as-threads 2 --pipeline-model-parallel-size 2",
                    "--ranks-as-threads 2 --context-parallel-size 2",
                    "--ranks-as-threads 2 --use-distributed-optimizer --expert-model-parallel-size 2",
                    "--ranks-as-threads 4 --use-distributed-optimizer --num-distributed-optimizer-instances 2",
                    "--ranks-as-threads 4 --tensor-model-parallel-size 2 --sequence-parallel "
                    "--pipeline-model-parallel-size 2 --expert-tensor-parallel-size 1 --expert-model-parallel-size 2"));

TEST_P(LayerStatisticsOfJobs, AreThoseOfOneProcess) {
  const Words batch = {"--global-batch-size", "8", "--moe-router-load-balancing-type", "none"};
  const auto alone = all_statistics(batch);
  Words words = split(GetParam(), ' ');
  words.insert(words.end(), batch.begin(), batch.end());
  ParsedOptions parsed = parse_command_line(Command::kTrain, small_moe_words(words));
  run_job(parsed, [&](World& world, const ParsedOptions& laid_out) {
    const Options options = checked_options(laid_out, Command::kTrain);
    const auto groups = make_job_groups(options, world);
    const auto device = make_device("cpu");
    Engine engine(options, options.model.vocab_size, *device, true, *groups);
    LayerStatistics statistics(engine, LayerStatistics::Detail::kAll);
    StepRequest request;
    request.rates = {.lr = 1e-2, .decoupled_lr = 1e-2, .weight_decay = 0.1, .step = 1};
    request.on_gradients = [&] { statistics.see_gradients(); };
    const std::vector<MicroBatch> all = random_batches(options, 0);
    std::vector<MicroBatch> own;
    const int64_t ranks = groups->layout().data_size();
    for (auto i = static_cast<size_t>(groups->layout().dense(groups->rank()).data); i < all.size();
         i += static_cast<size_t>(ranks))
      own.push_back(all[i]);
    engine.train_step(own, request);
    const auto together = statistics.take();
    EXPECT_EQ(together.size(), alone.size());
    for (const auto& [name, value] : alone) {
      const auto found = together.find(name);
      if (found == together.end()) {
        ADD_FAILURE() << "no " << name;
        continue;
      }
      // f32 weights after one Adam step: tiny gradients may move a weight the other way.
      EXPECT_NEAR(found->second, value, (name.starts_with("param-norm") ? 1e-3 : 1e-4) * std::fabs(value)) << name;
    }
    return 0;
  });
}

TEST(LayerStatistics, NaNIsKept) {
  const Options options = small_moe(kNoPositions);
  const auto device = make_device("cpu");
  Engine engine(options, options.model.vocab_size, *device, true);
  for (const Parameter* parameter : engine.store().parameters()) {
    if (parameter->spec.name != "decoder.layers.1.self_attention.linear_qkv.weight") continue;
    const Tensor weight = engine.store().main_weight(*parameter);
    std::vector<float> values = to_host<float>(device->default_stream(), weight);
    values[0] = std::numeric_limits<float>::quiet_NaN();
    copy_from_host<float>(device->default_stream(), weight, values);
  }
  LayerStatistics statistics(engine, LayerStatistics::Detail::kAttentionLogits);
  EXPECT_THROW(take_step(engine, options, 0), NonFiniteStep);
  EXPECT_TRUE(std::isnan(statistics.largest_attention_logit()));
  EXPECT_FALSE(std::isnan(statistics.take().at("max-attention-logit/decoder.layers.0")));
}

TEST(JumpCheck, LearnsFromTheFirstHundred) {
  JumpCheck check;
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(check.jumps(1e9));
    check.learn(i == 50 ? 3.0 : 2.0);
  }
  EXPECT_FALSE(check.jumps(29.9));
  EXPECT_TRUE(check.jumps(30.0));
  check.learn(25.0);  // too late to count
  EXPECT_TRUE(check.jumps(30.0));
  EXPECT_TRUE(JumpCheck::from_json(check.to_json()).jumps(30.0));
  EXPECT_FALSE(JumpCheck::from_json(check.to_json()).jumps(29.9));
}

TEST(RepeatStatistics, CountsWhatIsNotTheSame) {
  RepeatStatistics repeats;
  repeats.add(2.0, 2.0);
  repeats.add(2.0, 2.5);
  repeats.add(4.0, 3.9);
  EXPECT_EQ(repeats.text(),
            "1 of 3 results were the same to the bit when their step was run again; the largest relative difference "
            "was 0.2");
  repeats.add(std::nan(""), 1.0);
  EXPECT_NE(repeats.text().find("was nan"), std::string::npos) << repeats.text();
}

}  // namespace
}  // namespace conclave
