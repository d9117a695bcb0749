// The whole layer over EP ranks: against one process, with the shared expert overlapped, run again, and on sim.
#include "moe/moe_layer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "comm/world.h"
#include "kernels/elementwise.h"
#include "kernels/op_case.h"
#include "moe/keep_everything.h"
#include "nn/given_store.h"

namespace conclave {
namespace {

using Values = std::vector<double>;

constexpr int64_t kLength = 6, kBatch = 2, kHidden = 16, kExperts = 4;

struct Variant {
  DispatchConfig dispatch;
  bool again = false;  ///< forward a second time before backward
};

MoeLayerConfig config_of(const DispatchConfig& dispatch, const ModelPart& part) {
  MoeLayerConfig config;
  config.router = {.name = "router", .experts = kExperts, .hidden = kHidden};
  config.router.rule.topk = 2;
  config.experts = {.name = "experts",
                    .experts = kExperts,
                    .hidden = kHidden,
                    .width = 8,
                    .expert = part.expert,
                    .expert_tensor = part.expert_tensor};
  config.shared = std::make_unique<MlpConfig>();
  config.shared->name = "shared";
  config.shared->hidden = kHidden;
  config.shared->width = 8;
  config.shared_gate = true;
  config.dispatch = dispatch;
  return config;
}

Values normals(const std::string& name, int64_t count, double scale) {
  const RandomStream source(9, name);
  Values out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back(scale * static_cast<double>(source.normal(static_cast<uint64_t>(i))));
  return out;
}

struct Result {
  std::vector<Values> out, dx;                                 ///< by micro-batch
  std::map<std::string, std::map<int64_t, double>> gradients;  ///< by index in the whole tensor
};

class LayerRun {
 public:
  LayerRun(Device& device, ProcessGroups& groups, const Variant& variant)
      : device_(device),
        groups_(groups),
        variant_(variant),
        store_(device, DType::kF32),
        layer_(store_, device, config_of(variant.dispatch, groups.part())) {
    store_.allocate(0);
    if (device.is_sim()) return;
    for (const Parameter* parameter : store_.parameters()) {
      const ParameterSpec& spec = parameter->spec;
      const RandomStream source(9, spec.name);
      Values values;
      for (int64_t i = 0; i < spec.shard.element_count(); ++i)
        values.push_back(0.2 * static_cast<double>(source.normal(static_cast<uint64_t>(spec.shard.global_index(i)))));
      kernels::write_values(store_.weight(spec.name), values);
    }
  }

  void run_micro_batch(int64_t number) {
    BatchInfo batch;
    batch.batch = kBatch;
    batch.sequence_length = kLength;
    Context context{.stream = device_.default_stream(),
                    .store = store_,
                    .weight_gradients = queue_,
                    .save_policy = policy_,
                    .batch = batch,
                    .training = true,
                    .with_gradient = true,
                    .groups = &groups_};
    const Tensor x = filled(fmt::format("x{}", number)), dy = filled(fmt::format("dy{}", number));
    const SavedTensor kept(x);
    MoeSaved saved;
    Tensor out = forward(context, kept, x, &saved, true);
    if (variant_.again) {
      saved.discard();
      context.pass = Pass::kAgain;
      forward(context, kept, x, &saved, false);
      saved.drop_forward_results();
      context.pass = Pass::kPlain;
    }
    layer_.combine_backward(context, dy, &saved);
    layer_.experts_backward(context, &saved);
    Tensor dprobs;
    const Tensor dx = layer_.dispatch_backward(context, x.shape(), &saved, &dprobs);
    layer_.route_backward(context, dprobs, dx, &saved);
    if (device_.is_sim()) return;
    result_.out.push_back(kernels::read_values(out));
    result_.dx.push_back(kernels::read_values(dx));
  }

  Result finish() {
    for (const Parameter* parameter : store_.parameters()) {
      const ParameterSpec& spec = parameter->spec;
      const Values values = kernels::read_values(store_.gradient(spec.name));
      for (size_t i = 0; i < values.size(); ++i)
        result_.gradients[spec.name][spec.shard.global_index(static_cast<int64_t>(i))] = values[i];
    }
    return result_;
  }

 private:
  Device& device_;
  ProcessGroups& groups_;
  Variant variant_;
  GivenStore store_;
  MoeLayer layer_;
  WeightGradientQueue queue_;
  KeepEverything policy_;
  Result result_;

  Tensor forward(const Context& context, const SavedTensor& kept, const Tensor& x, MoeSaved* saved, bool combine) {
    layer_.route(context, kept, x, saved);
    layer_.dispatch(context, kept, x, saved);
    layer_.run_experts(context, saved);
    return combine ? layer_.combine(context, x.shape(), saved) : Tensor();
  }
  Tensor filled(const std::string& name) const {
    const Tensor out = Tensor::empty(device_, {kLength, kBatch, kHidden}, DType::kF32, {});
    if (!device_.is_sim()) kernels::write_values(out, normals(name, out.element_count(), 1));
    return out;
  }
};

LayoutSizes sizes_of(int64_t expert_ranks, int64_t tensor_ranks) {
  LayoutSizes sizes;
  sizes.world = expert_ranks * tensor_ranks;
  sizes.expert = expert_ranks;
  sizes.expert_tensor = tensor_ranks;
  return sizes;
}

/// Each rank runs a micro-batch of its own.
std::vector<Result> run_on_threads(int64_t expert_ranks, int64_t tensor_ranks, const Variant& variant) {
  const LayoutSizes sizes = sizes_of(expert_ranks, tensor_ranks);
  std::vector<Result> results(static_cast<size_t>(sizes.world));
  run_ranks_as_threads({.ranks = sizes.world, .settings = {.check_collectives = true, .timeout_seconds = 60}},
                       [&](World& world) {
                         ProcessGroups groups(RankLayout(sizes), world, false);
                         const auto device = make_device("cpu");
                         LayerRun run(*device, groups, variant);
                         run.run_micro_batch(world.rank());
                         results[static_cast<size_t>(world.rank())] = run.finish();
                       });
  return results;
}

void expect_same(const Result& got, const Result& want) {
  EXPECT_EQ(got.out, want.out);
  EXPECT_EQ(got.dx, want.dx);
  EXPECT_EQ(got.gradients, want.gradients);
}

TEST(MoeLayer, RanksTogetherAreOneProcess) {
  const auto device = make_device("cpu");
  LayerRun alone(*device, ProcessGroups::single(), {});
  for (int64_t m = 0; m < 4; ++m) alone.run_micro_batch(m);
  const Result want = alone.finish();
  const std::vector<Result> got = run_on_threads(2, 2, {{.kind = DispatcherKind::kAllToAll}});
  std::map<std::string, std::map<int64_t, double>> sums;
  for (size_t rank = 0; rank < got.size(); ++rank) {
    for (size_t i = 0; i < want.out[rank].size(); ++i) {
      ASSERT_NEAR(got[rank].out[0][i], want.out[rank][i], 2e-5);
      ASSERT_NEAR(got[rank].dx[0][i], want.dx[rank][i], 2e-5);
    }
    // Experts' gradients are whole where they are held; all else is summed over the ranks.
    for (const auto& [name, values] : got[rank].gradients)
      for (const auto& [index, value] : values) sums[name][index] += value;
  }
  for (const auto& [name, values] : want.gradients) {
    ASSERT_EQ(sums[name].size(), values.size()) << name;
    for (const auto& [index, value] : values) ASSERT_NEAR(sums[name][index], value, 5e-5) << name << " " << index;
  }
}

class MoeLayerVariants : public testing::TestWithParam<DispatcherKind> {};

TEST_P(MoeLayerVariants, OverlapAndRunningAgainChangeNoBit) {
  for (const auto& [expert_ranks, tensor_ranks] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
    SCOPED_TRACE(fmt::format("ep{} etp{}", expert_ranks, tensor_ranks));
    const std::vector<Result> want = run_on_threads(expert_ranks, tensor_ranks, {{.kind = GetParam()}});
    const DispatchConfig overlapped{.kind = GetParam(), .overlap_shared = true};
    for (const Variant& variant :
         {Variant{overlapped}, Variant{{.kind = GetParam()}, true}, Variant{overlapped, true}}) {
      const std::vector<Result> got = run_on_threads(expert_ranks, tensor_ranks, variant);
      for (size_t rank = 0; rank < want.size(); ++rank) expect_same(got[rank], want[rank]);
    }
  }
}

/// What one rank does on sim: which ops it ran.
std::map<std::string, Cost, std::less<>> ops_on_sim(const LayoutSizes& sizes, const DispatchConfig& dispatch) {
  const auto world = make_sim_world(1, sizes.world);
  ProcessGroups groups(RankLayout(sizes), *world, false);
  const auto device = make_device("sim");
  device->ledger().track_by_op(true);
  LayerRun run(*device, groups, {dispatch});
  run.run_micro_batch(0);
  return device->ledger().by_op();
}

TEST_P(MoeLayerVariants, RunOnSim) {
  LayoutSizes sizes = sizes_of(2, 2);
  sizes.ranks_per_node = 2;
  const auto ops = ops_on_sim(sizes, {.kind = GetParam(), .overlap_shared = true});
  // Two choices of the tokens of 4 ranks, half of them here.
  const double rows = static_cast<double>(kLength * kBatch * 2 * 4) / 2;
  EXPECT_EQ(ops.at("grouped_gemm_forward").flops, rows * (2.0 * 8 + 2.0 * 4) * kHidden);
}
std::string kind_name(const testing::TestParamInfo<DispatcherKind>& info) {
  constexpr const char* kNames[] = {"reference", "allgather", "alltoall", "deepep", "hybridep"};
  return kNames[static_cast<size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(All, MoeLayerVariants,
                         testing::Values(DispatcherKind::kReference, DispatcherKind::kAllGather,
                                         DispatcherKind::kAllToAll, DispatcherKind::kDeepEp, DispatcherKind::kHybridEp),
                         kind_name);

TEST(MoeLayer, OneExpertPerRankNeedsNoOrderOfItsOwn) {
  const DispatchConfig all_to_all{.kind = DispatcherKind::kAllToAll};
  EXPECT_EQ(ops_on_sim(sizes_of(2, 1), all_to_all).count("reorder_chunks"), 1U);
  EXPECT_EQ(ops_on_sim(sizes_of(4, 1), all_to_all).count("reorder_chunks"), 0U);
  EXPECT_EQ(ops_on_sim(sizes_of(4, 2), all_to_all).count("reorder_chunks"), 0U);
}

}  // namespace
}  // namespace conclave
