// The router as a module: gradients, counters, noise, replay, deferred work, the same on sim.
#include "moe/router.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "kernels/elementwise.h"
#include "kernels/op_case.h"
#include "moe/keep_everything.h"
#include "nn/given_store.h"

namespace conclave {
namespace {

std::vector<double> draw(const char* name, int64_t count) { return kernels::normal()(count, name); }

RouterConfig plain_config() {
  RouterConfig config;
  config.name = "router";
  config.experts = 6;
  config.hidden = 5;
  config.rule.topk = 2;
  return config;
}

/// A router with random weights on a device, and a micro-batch of random hidden states.
class Bench {
 public:
  Bench(const RouterConfig& config, DType dtype, const std::string& device_name = "cpu")
      : device_(make_device(device_name)),
        store_(*device_, dtype),
        router_(store_, *device_, config),
        stream_(device_->default_stream()) {
    store_.allocate(0);
    batch_.sequence_length = 7;
    batch_.batch = 3;
    batch_.ordinals = {40, 41, 42};
    hidden_ = Tensor::empty(*device_, {7, 3, config.hidden}, dtype, {});
    if (device_->is_sim()) return;
    fill(hidden_, "hidden");
    fill(store_.weight("router.weight"), "weight");
    if (config.linear_bias) fill(store_.weight("router.bias"), "bias");
    if (config.expert_bias) fill(store_.buffer("router.expert_bias"), "expert bias");
  }

  Context context(bool training = true) {
    return {.stream = stream_,
            .store = store_,
            .weight_gradients = queue_,
            .save_policy = policy_,
            .batch = batch_,
            .seed = 11,
            .training = training,
            .with_gradient = training,
            .loss_weights = {0.5}};
  }
  Routing forward(bool training = true, RouterInspection* look = nullptr) {
    return router_.forward(context(training), SavedTensor(hidden_), hidden_, &saved_, look);
  }
  /// dx of the last forward for the upstream gradient `dprobs`.
  Tensor backward(const Tensor& dprobs) {
    const Tensor dx = Tensor::empty(*device_, hidden_.shape(), hidden_.dtype(), {});
    if (!device_->is_sim()) kernels::write_values(dx, std::vector<double>(static_cast<size_t>(dx.element_count()), 0));
    router_.backward(context(), dprobs, saved_, dx);
    return dx;
  }
  Tensor upstream(const Routing& routing) const {
    const Tensor dprobs = Tensor::empty(*device_, routing.probs.shape(), routing.probs.dtype(), {});
    if (!device_->is_sim()) fill(dprobs, "dprobs");
    return dprobs;
  }
  static void fill(const Tensor& tensor, const char* name) {
    kernels::write_values(tensor, draw(name, tensor.element_count()));
  }

  std::unique_ptr<Device> device_;
  GivenStore store_;
  Router router_;
  Stream stream_;
  WeightGradientQueue queue_;
  KeepEverything policy_;
  BatchInfo batch_;
  RouterSaved saved_;
  Tensor hidden_;
};

std::vector<double> read(const Tensor& tensor) { return kernels::read_values(tensor); }

/// Σ probs·dprobs + weight·Σ losses of one forward.
double objective(Bench& bench, const std::vector<double>& dprobs) {
  RouterInspection look;
  bench.router_.begin_step(bench.stream_);
  const Routing routing = bench.forward(true, &look);
  const std::vector<double> probs = read(routing.probs), experts = read(routing.experts);
  double sum = 0;
  for (size_t i = 0; i < probs.size(); ++i)
    if (experts[i] >= 0) sum += probs[i] * dprobs[i];
  for (const Tensor& loss : look.losses) sum += 0.5 * read(loss)[0];
  return sum;
}

void expect_gradient(Bench& bench, const Tensor& x, const std::vector<double>& gradient,
                     const std::vector<double>& dprobs) {
  std::vector<double> values = read(x);
  for (size_t i = 0; i < values.size(); ++i) {
    const double centre = values[i];
    const auto at = [&](double shift) {
      values[i] = centre + shift;
      kernels::write_values(x, values);
      const double result = objective(bench, dprobs);
      values[i] = centre;
      kernels::write_values(x, values);
      return result;
    };
    const auto quotient = [&](double h) { return (at(h) - at(-h)) / (2 * h); };
    const double wanted = (4 * quotient(5e-5) - quotient(1e-4)) / 3;
    ASSERT_NEAR(gradient[i], wanted, 1e-6 * std::max(1.0, std::fabs(wanted))) << "element " << i;
  }
}

struct GradientCase {
  const char* name;
  std::function<void(RouterConfig&)> change;
};

class RouterGradient : public testing::TestWithParam<GradientCase> {};

TEST_P(RouterGradient, IsThatOfTheObjective) {
  RouterConfig config = plain_config();
  config.rule.f64_scores = true;
  config.linear_bias = true;
  config.z_loss = 0.1;
  GetParam().change(config);
  Bench bench(config, DType::kF64);
  const Routing routing = bench.forward();
  const Tensor dprobs = bench.upstream(routing);
  bench.store_.zero_gradients(bench.stream_);
  const std::vector<double> dx = read(bench.backward(dprobs)), upstream = read(dprobs);
  const std::vector<double> dweight = read(bench.store_.gradient("router.weight"));
  const std::vector<double> dbias = read(bench.store_.gradient("router.bias"));
  EXPECT_EQ(bench.store_.completed("router.weight"), 1);
  EXPECT_EQ(bench.store_.completed("router.bias"), 1);
  expect_gradient(bench, bench.hidden_, dx, upstream);
  expect_gradient(bench, bench.store_.weight("router.weight"), dweight, upstream);
  expect_gradient(bench, bench.store_.weight("router.bias"), dbias, upstream);
}

const std::vector<BalanceConfig> kAllLosses = {{kernels::BalanceKind::kMicroBatch, 0.2},
                                               {kernels::BalanceKind::kSequence, 0.3},
                                               {kernels::BalanceKind::kGlobal, 0.4}};

INSTANTIATE_TEST_SUITE_P(Router, RouterGradient,
                         testing::Values(GradientCase{"softmax", [](RouterConfig& c) { c.balance = kAllLosses; }},
                                         GradientCase{"sigmoid_groups_bias",
                                                      [](RouterConfig& c) {
                                                        c.balance = kAllLosses;
                                                        c.rule.score = kernels::ScoreFunction::kSigmoid;
                                                        c.rule.groups = 3;
                                                        c.rule.group_topk = 2;
                                                        c.rule.scaling_factor = 2.5;
                                                        c.expert_bias = true;
                                                      }},
                                         GradientCase{"dropping",
                                                      [](RouterConfig& c) {
                                                        c.balance = {{kernels::BalanceKind::kMicroBatch, 0.2}};
                                                        c.capacity_factor = 0.7;
                                                        c.rule.pre_softmax = true;
                                                      }},
                                         GradientCase{"sinkhorn", [](RouterConfig& c) { c.sinkhorn = true; }}),
                         [](const auto& one) { return one.param.name; });

TEST(Router, EveryPairOfDtypesGivesNearlyTheSame) {
  RouterConfig config = plain_config();
  config.linear_bias = true;
  config.z_loss = 0.1;
  const auto run = [&](DType params, std::optional<DType> router) {
    config.dtype = router;
    Bench bench(config, params);
    const Tensor dprobs = bench.upstream(bench.forward());
    std::vector<double> out = read(bench.backward(dprobs));
    for (const char* name : {"router.weight", "router.bias"})
      for (const double value : read(bench.store_.gradient(name))) out.push_back(value);
    return out;
  };
  const std::vector<double> truth = run(DType::kF64, std::nullopt);
  const auto expect_near = [&](DType params, std::optional<DType> router, double tolerance) {
    const std::vector<double> got = run(params, router);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], truth[i], tolerance) << i;
  };
  for (const std::optional<DType> router :
       {std::optional<DType>(), std::optional(DType::kF32), std::optional(DType::kF64)}) {
    expect_near(DType::kF32, router, 1e-5);
    expect_near(DType::kBF16, router, 0.2);
    expect_near(DType::kF64, router, 1e-5);
  }
}

TEST(Router, DeferredWeightGradientsHaveTheSameBits) {
  RouterConfig config = plain_config();
  config.linear_bias = true;
  config.jitter = 0.2;
  config.dtype = DType::kF32;
  const auto run = [&](WeightGradientQueue::Mode mode) {
    Bench bench(config, DType::kBF16);
    bench.queue_.set_mode(mode);
    bench.backward(bench.upstream(bench.forward()));
    EXPECT_EQ(bench.store_.completed("router.weight"), mode == WeightGradientQueue::Mode::kAtOnce ? 1 : 0);
    bench.queue_.run_all();
    return std::pair(read(bench.store_.gradient("router.weight")), read(bench.store_.gradient("router.bias")));
  };
  EXPECT_EQ(run(WeightGradientQueue::Mode::kAtOnce), run(WeightGradientQueue::Mode::kDeferred));
}

TEST(Router, StatisticsCountStepsThatEnded) {
  RouterConfig config = plain_config();
  config.balance = kAllLosses;
  config.balance.push_back({kernels::BalanceKind::kMicroBatch, 0.0});
  config.z_loss = 0.1;
  config.capacity_factor = 0.5;
  Bench bench(config, DType::kF32);
  EXPECT_EQ(bench.router_.loss_names(), (std::vector<std::string>{"load_balancing_loss", "seq_load_balancing_loss",
                                                                  "global_load_balancing_loss", "z_loss"}));
  bench.router_.begin_step(bench.stream_);
  bench.forward();
  bench.router_.begin_step(bench.stream_);  // thrown away
  bench.forward();
  const std::vector<double> first = read(bench.router_.statistics().tokens());
  bench.forward();
  bench.forward(false);  // evaluation
  bench.router_.end_step(bench.stream_, bench.store_);
  const RoutingReport report = bench.router_.statistics().read(bench.stream_);
  EXPECT_EQ(report.micro_batches, 2);
  EXPECT_EQ(report.choices, 2 * 21 * 2);
  for (size_t e = 0; e < first.size(); ++e) EXPECT_EQ(report.tokens[e], 2 * first[e]);
  EXPECT_EQ(report.dropped(), report.choices - std::accumulate(report.tokens.begin(), report.tokens.end(), 0.0));
  EXPECT_GT(report.dropped(), 0);
  ASSERT_EQ(report.losses.size(), 4u);
  // Both micro-batches are the same, so the loss over the step is that over one of them.
  EXPECT_DOUBLE_EQ(report.losses[2].sum, report.losses[0].sum);
  EXPECT_GT(report.losses[3].sum, 0);
  bench.router_.reset_statistics(bench.stream_);
  EXPECT_EQ(bench.router_.statistics().read(bench.stream_).micro_batches, 0);
}

TEST(Router, ExpertBiasMovesTowardsBalance) {
  RouterConfig config = plain_config();
  config.rule.score = kernels::ScoreFunction::kSigmoid;
  config.expert_bias = true;
  config.bias_update_rate = 0.05;
  Bench bench(config, DType::kF32);
  const auto load = [&] { return expert_load(read(bench.router_.statistics().tokens())).max_over_mean; };
  bench.forward();
  const double before = load();
  bench.router_.end_step(bench.stream_, bench.store_);
  for (int step = 0; step < 60; ++step) {
    bench.forward();
    bench.router_.end_step(bench.stream_, bench.store_);
  }
  bench.forward();
  EXPECT_LT(load(), before);
  EXPECT_LT(load(), 1.35);
}

TEST(Router, FillersOfAPaddedCapacityCountForTheBias) {
  RouterConfig config = plain_config();
  config.rule.score = kernels::ScoreFunction::kSigmoid;
  config.expert_bias = true;
  config.capacity_factor = 1.0;
  config.pad_to_capacity = true;
  Bench bench(config, DType::kF32);
  const Routing routing = bench.forward();
  EXPECT_EQ(routing.capacity, 7);
  for (const double count : read(bench.router_.statistics().local_tokens())) EXPECT_EQ(count, 7);
  double routed = 0;
  for (const double count : read(bench.router_.statistics().tokens())) routed += count;
  EXPECT_LT(routed, 42);
}

TEST(Router, ForcedRoutingDependsOnSampleNumbersAlone) {
  RouterConfig config = plain_config();
  config.forced = {true, 0};
  Bench bench(config, DType::kF32), other(config, DType::kF32);
  Bench::fill(other.hidden_, "something else");
  const std::vector<double> experts = read(bench.forward().experts);
  EXPECT_EQ(read(other.forward().experts), experts);
  std::swap(other.batch_.ordinals[0], other.batch_.ordinals[2]);
  const std::vector<double> swapped = read(other.forward().experts);
  for (size_t s = 0; s < 7; ++s)
    for (size_t b = 0; b < 3; ++b)
      for (size_t k = 0; k < 2; ++k) EXPECT_EQ(swapped[(s * 3 + b) * 2 + k], experts[(s * 3 + 2 - b) * 2 + k]);
}

TEST(Router, ForcedBiasIsDrawnAnewOrKept) {
  const auto logits = [](double deviation, int64_t iteration) {
    RouterConfig config = plain_config();
    config.forced = {true, deviation};
    Bench bench(config, DType::kF32);
    Context context = bench.context();
    context.iteration = iteration;
    RouterInspection look;
    bench.router_.forward(context, SavedTensor(bench.hidden_), bench.hidden_, &bench.saved_, &look);
    return read(look.logits);
  };
  EXPECT_NE(logits(2.0, 1), logits(0.0, 1));
  EXPECT_NE(logits(2.0, 1), logits(2.0, 2));
  EXPECT_EQ(logits(2.0, 1), logits(2.0, 1));
  EXPECT_EQ(logits(-2.0, 1), logits(-2.0, 2));
}

TEST(Router, JitterMultipliesInputAndGradientAlike) {
  RouterConfig config = plain_config();
  Bench plain(config, DType::kF32);
  config.jitter = 0.3;
  Bench jittered(config, DType::kF32);
  // The noise, seen on a router input of ones.
  const Tensor noise = Tensor::empty(*plain.device_, plain.hidden_.shape(), DType::kF32, {}), ones = noise;
  kernels::write_values(ones, std::vector<double>(static_cast<size_t>(ones.element_count()), 1.0));
  const Context context = jittered.context();
  kernels::jitter(plain.stream_,
                  {.x = ones, .y = noise, .epsilon = 0.3f, .streams = context.random_streams("router.jitter")});
  const std::vector<double> factors = read(noise);
  std::vector<double> product = read(plain.hidden_);
  for (size_t i = 0; i < product.size(); ++i) product[i] *= factors[i];
  kernels::write_values(plain.hidden_, product);
  const Tensor dprobs = plain.upstream(plain.forward());
  jittered.forward();
  const std::vector<double> inner = read(plain.backward(dprobs)), outer = read(jittered.backward(dprobs));
  for (size_t i = 0; i < outer.size(); ++i) ASSERT_NEAR(outer[i], inner[i] * factors[i], 1e-6) << i;
  const std::vector<double> wanted = read(plain.store_.gradient("router.weight"));
  const std::vector<double> got = read(jittered.store_.gradient("router.weight"));
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 1e-5) << i;
}

TEST(Router, JitterIsForTrainingOnly) {
  RouterConfig config = plain_config();
  Bench plain(config, DType::kF32);
  config.jitter = 0.3;
  Bench jittered(config, DType::kF32);
  EXPECT_NE(read(jittered.forward(true).probs), read(plain.forward(true).probs));
  EXPECT_EQ(read(jittered.forward(false).probs), read(plain.forward(false).probs));
}

TEST(Router, ReplayTakesTheRecordedExperts) {
  RouterConfig config = plain_config();
  Bench bench(config, DType::kF32);
  RoutingTape tape;
  bench.router_.set_replay(&tape);
  tape.set_mode(RoutingTape::Mode::kRecord);
  const std::vector<double> first = read(bench.forward().experts);
  Bench::fill(bench.hidden_, "another micro-batch");
  const std::vector<double> second = read(bench.forward().experts);
  ASSERT_NE(first, second);
  tape.set_mode(RoutingTape::Mode::kReplay);
  const Routing replayed = bench.forward();
  EXPECT_EQ(read(replayed.experts), first);
  for (size_t t = 0; t < 21; ++t) {
    const std::vector<double> probs = read(replayed.probs);
    EXPECT_NEAR(probs[2 * t] + probs[2 * t + 1], 1.0, 1e-6);
  }
  EXPECT_EQ(read(bench.forward().experts), second);
  EXPECT_THROW(bench.forward(), UserError);
}

TEST(Router, ARoutingIsDecidedOnce) {
  Bench bench(plain_config(), DType::kF32);
  Context context = bench.context();
  context.pass = Pass::kAgain;
  EXPECT_THROW(bench.router_.forward(context, SavedTensor(bench.hidden_), bench.hidden_, &bench.saved_), InternalError);
}

TEST(Router, RefusesContradictions) {
  const auto refused = [](const std::function<void(RouterConfig&)>& change) {
    RouterConfig config = plain_config();
    change(config);
    EXPECT_THROW(Bench(config, DType::kF32), InternalError);
  };
  refused([](RouterConfig& c) { c.rule.topk = 7; });
  refused([](RouterConfig& c) { c.expert_bias = true; });
  refused([](RouterConfig& c) { c.pad_to_capacity = true; });
  refused([](RouterConfig& c) {
    c.sinkhorn = true;
    c.balance = kAllLosses;
  });
}

TEST(Router, RunsOnSimWithTheSamePeakOfMemory) {
  RouterConfig config = plain_config();
  config.balance = kAllLosses;
  config.z_loss = 0.1;
  config.rule.score = kernels::ScoreFunction::kSigmoid;
  config.expert_bias = true;
  config.jitter = 0.1;
  config.capacity_factor = 1.0;
  config.pad_to_capacity = true;
  const auto peak = [&](const std::string& device) {
    Bench bench(config, DType::kF32, device);
    bench.router_.begin_step(bench.stream_);
    bench.backward(bench.upstream(bench.forward()));
    bench.router_.end_step(bench.stream_, bench.store_);
    bench.router_.statistics().read(bench.stream_);
    return bench.device_->allocator().statistics().peak_total;
  };
  EXPECT_EQ(peak("sim"), peak("cpu"));
}

TEST(ExpertLoad, SaysHowEvenItIs) {
  EXPECT_EQ(expert_load({4, 4, 4, 4}).max_over_mean, 1.0);
  EXPECT_NEAR(expert_load({4, 4, 4, 4}).entropy, 1.0, 1e-15);
  const ExpertLoad one = expert_load({8, 0, 0, 0});
  EXPECT_EQ(one.max_over_mean, 4.0);
  EXPECT_EQ(one.entropy, 0.0);
  EXPECT_EQ(one.dead, 3);
  EXPECT_NEAR(expert_load({2, 0, 2, 0}).entropy, 0.5, 1e-15);
  EXPECT_EQ(expert_load({0, 0}).dead, 2);
  EXPECT_EQ(expert_load({0, 0}).max_over_mean, 0.0);
}

}  // namespace
}  // namespace conclave
