// A router over TP x CP x DP against one process that has all tokens: losses, their gradient, the expert bias, the log.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/world.h"
#include "kernels/op_case.h"
#include "moe/keep_everything.h"
#include "moe/router.h"
#include "nn/given_store.h"

namespace conclave {
namespace {

using Values = std::vector<double>;

constexpr int64_t kExperts = 6, kTopk = 2, kLength = 8, kBatch = 2, kSteps = 2;

RouterConfig config_of(kernels::BalanceKind kind, bool z_loss) {
  RouterConfig config;
  config.name = "router";
  config.experts = kExperts;
  config.hidden = 4;
  config.rule.topk = kTopk;
  config.rule.score = kernels::ScoreFunction::kSigmoid;
  config.rule.f64_scores = true;
  config.expert_bias = true;
  config.balance = {{kind, 0.2}};
  config.z_loss = z_loss ? 0.1 : 0;
  return config;
}

/// What is compared; gradients by micro-batch, row and expert.
struct Outcome {
  Values dlogits, bias, tokens, losses;
  int64_t choices = 0, micro_batches = 0;
};

/// The tokens of one micro-batch that a rank routes, as rows of [S,B,E] logits made up for micro-batch `number`.
struct Part {
  int64_t first = 0, length = kLength;  ///< positions
  int64_t number = 0;                   ///< which micro-batch
  int64_t batch = kBatch;
  bool padded = false;
};

Values logits_of(const Part& part) {
  Values out;
  for (int64_t s = part.first; s < part.first + part.length; ++s)
    for (int64_t b = 0; b < part.batch; ++b) {
      // A doubled batch stands for the micro-batches of two data-parallel ranks.
      const int64_t number = part.number + b / kBatch;
      const RandomStream source(3, "logits", static_cast<uint64_t>(number));
      for (int64_t e = 0; e < kExperts; ++e)
        out.push_back(
            static_cast<double>(source.normal(static_cast<uint64_t>((s * kBatch + b % kBatch) * kExperts + e))));
    }
  return out;
}

Values padding_of(const Part& part) {
  Values out;
  for (int64_t s = part.first; s < part.first + part.length; ++s)
    for (int64_t b = 0; b < part.batch; ++b) out.push_back(s >= 5 + b % kBatch ? 1 : 0);
  return out;
}

class RouterRun {
 public:
  RouterRun(const RouterConfig& config, Device& device, ProcessGroups& groups)
      : device_(device), groups_(groups), store_(device, DType::kF64), router_(store_, device, config) {
    store_.allocate(0);
  }

  /// Some micro-batches of a step, then its end.
  Outcome run(const std::vector<Part>& parts, double weight) {
    const Stream stream = device_.default_stream();
    Outcome out;
    router_.begin_step(stream);
    for (const Part& part : parts) {
      const Values dlogits = run_micro_batch(part, weight);
      out.dlogits.insert(out.dlogits.end(), dlogits.begin(), dlogits.end());
    }
    router_.end_step(stream, store_, groups_);
    out.bias = kernels::read_values(store_.buffer("router.expert_bias"));
    const RoutingReport report = router_.statistics().read(stream, groups_);
    out.tokens = report.tokens;
    for (const RoutingReport::Loss& loss : report.losses)
      out.losses.push_back(loss.sum / static_cast<double>(report.micro_batches));
    out.choices = report.choices;
    out.micro_batches = report.micro_batches;
    return out;
  }

 private:
  Device& device_;
  ProcessGroups& groups_;
  GivenStore store_;
  Router router_;
  WeightGradientQueue queue_;
  KeepEverything policy_;

  Tensor filled(const Shape& shape, DType dtype, const Values& values) const {
    const Tensor out = Tensor::empty(device_, shape, dtype, {});
    kernels::write_values(out, values);
    return out;
  }

  Values run_micro_batch(const Part& part, double weight) {
    BatchInfo batch;
    batch.batch = part.batch;
    batch.sequence_length = part.length;
    const int64_t tokens = part.length * part.batch;
    if (part.padded) batch.padding = filled({tokens}, DType::kU8, padding_of(part));
    const Context context{.stream = device_.default_stream(),
                          .store = store_,
                          .weight_gradients = queue_,
                          .save_policy = policy_,
                          .batch = batch,
                          .training = true,
                          .with_gradient = true,
                          .loss_weights = {weight},
                          .groups = &groups_};
    RouterSaved saved;
    const Routing routing = router_.route(context, filled({tokens, kExperts}, DType::kF64, logits_of(part)), &saved);
    const Tensor dprobs = filled(routing.probs.shape(), routing.probs.dtype(),
                                 Values(static_cast<size_t>(routing.probs.element_count()), 0.0));
    return kernels::read_values(router_.route_backward(context, dprobs, saved));
  }
};

struct Layout {
  const char* name;
  int64_t tensor = 1, context = 1, data = 1;
  kernels::BalanceKind kind = kernels::BalanceKind::kMicroBatch;
  bool padded = false;
};

class BalanceGroups : public testing::TestWithParam<Layout> {};

void expect_near(const char* what, const Values& got, const Values& want) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 1e-12 * std::max(1.0, std::fabs(want[i]))) << what << " " << i;
}

TEST_P(BalanceGroups, EqualOneProcess) {
  const Layout& layout = GetParam();
  const bool global = layout.kind == kernels::BalanceKind::kGlobal;
  // The loss over a whole step sees the micro-batches of all data-parallel ranks at once: one process sees them so as
  // one micro-batch.
  const int64_t joined = global ? layout.data : 1;
  const RouterConfig config = config_of(layout.kind, !global || layout.data == 1);
  std::vector<Part> whole;
  for (int64_t m = 0; m < kSteps * layout.data / joined; ++m)
    whole.push_back({.number = m * joined, .batch = kBatch * joined, .padded = layout.padded});
  const auto device = make_device("cpu");
  const Outcome want =
      RouterRun(config, *device, ProcessGroups::single()).run(whole, 1.0 / static_cast<double>(whole.size()));

  const int64_t shares = layout.tensor * layout.context, ranks = shares * layout.data;
  const int64_t length = kLength / shares;
  std::vector<Outcome> got(static_cast<size_t>(ranks));
  run_ranks_as_threads(
      {.ranks = ranks, .settings = {.check_collectives = true, .timeout_seconds = 60}}, [&](World& world) {
        LayoutSizes sizes;
        sizes.world = ranks;
        sizes.tensor = layout.tensor;
        sizes.context = layout.context;
        ProcessGroups groups(RankLayout(sizes), world, false);
        const auto mine = make_device("cpu");
        const DenseCoordinates at = groups.layout().dense(world.rank());
        std::vector<Part> parts;
        for (int64_t m = 0; m < kSteps; ++m)
          parts.push_back({.first = length * (at.tensor + layout.tensor * at.context),
                           .length = length,
                           .number = m * layout.data + at.data,
                           .padded = layout.padded});
        got[static_cast<size_t>(world.rank())] =
            RouterRun(config, *mine, groups).run(parts, 1.0 / static_cast<double>(kSteps * layout.data));
      });

  const RankLayout ranks_of(LayoutSizes{.world = ranks, .tensor = layout.tensor, .context = layout.context});
  for (int64_t rank = 0; rank < ranks; ++rank) {
    SCOPED_TRACE(fmt::format("rank {}", rank));
    const Outcome& part = got[static_cast<size_t>(rank)];
    const DenseCoordinates at = ranks_of.dense(rank);
    const int64_t first = length * (at.tensor + layout.tensor * at.context);
    Values wanted;
    for (int64_t m = 0; m < kSteps; ++m) {
      const int64_t number = m * layout.data + at.data, mb = number / joined, place = number % joined;
      for (int64_t s = first; s < first + length; ++s)
        for (int64_t b = 0; b < kBatch; ++b)
          for (int64_t e = 0; e < kExperts; ++e) {
            const int64_t row = (mb * kLength + s) * kBatch * joined + place * kBatch + b;
            wanted.push_back(want.dlogits[static_cast<size_t>(row * kExperts + e)]);
          }
    }
    expect_near("dlogits", part.dlogits, wanted);
    expect_near("bias", part.bias, want.bias);
    expect_near("tokens", part.tokens, want.tokens);
    expect_near("losses", part.losses, want.losses);
    EXPECT_EQ(part.choices, want.choices);
    EXPECT_EQ(part.micro_batches, want.micro_batches * joined);
  }
}

std::vector<Layout> layouts() {
  using Kind = kernels::BalanceKind;
  return {{"tp2", 2},
          {"cp2", 1, 2},
          {"tp2_cp2", 2, 2},
          {"dp2", 1, 1, 2},
          {"tp2_dp2", 2, 1, 2},
          {"tp2_padded", 2, 1, 1, Kind::kMicroBatch, true},
          {"sequence_tp2", 2, 1, 1, Kind::kSequence},
          {"sequence_tp2_cp2_padded", 2, 2, 1, Kind::kSequence, true},
          {"sequence_dp2", 1, 1, 2, Kind::kSequence},
          {"global_tp2", 2, 1, 1, Kind::kGlobal},
          {"global_dp2", 1, 1, 2, Kind::kGlobal},
          {"global_tp2_dp2_padded", 2, 1, 2, Kind::kGlobal, true}};
}
std::string layout_name(const testing::TestParamInfo<Layout>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Layouts, BalanceGroups, testing::ValuesIn(layouts()), layout_name);

}  // namespace
}  // namespace conclave
