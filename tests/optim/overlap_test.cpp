// When buckets are reduced and gathered, and how many bytes that moves.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "comm/world.h"
#include "kernels/elementwise.h"
#include "optim/flat/gradient_reduction.h"
#include "optim/training_store.h"

namespace conclave {
namespace {

LayoutSizes data_parallel(int64_t ranks) {
  LayoutSizes sizes;
  sizes.world = ranks;
  return sizes;
}

Parameter parameter(const std::string& name, int64_t count, int index) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole({count});
  return {spec, index};
}

void on_two_ranks(const std::function<void(ProcessGroups&, Device&)>& work) {
  run_ranks_as_threads({.ranks = 2, .settings = {.check_collectives = true, .timeout_seconds = 60}}, [&](World& world) {
    const auto device = make_device("cpu");
    ProcessGroups groups(RankLayout(data_parallel(2)), world, false);
    work(groups, *device);
  });
}

TEST(GradientReduction, BeginsWithTheLastGradientInTheOrderOfBuckets) {
  on_two_ranks([](ProcessGroups& groups, Device& device) {
    std::vector<Parameter> parameters = {parameter("late", 64, 0), parameter("a", 64, 1), parameter("b", 64, 2),
                                         parameter("c", 64, 3)};
    parameters[0].spec.partial_over_tensor = true;
    FlatGrid grid({.bucket_elements = 64}, groups);
    for (const Parameter& each : parameters) grid.add(each);
    grid.freeze();
    ASSERT_EQ(grid.buckets().size(), 4u);  // c, b, a, late
    EXPECT_EQ(grid.prompt_buckets(), 3u);
    grid.gradients = Tensor::empty(device, {256}, DType::kF32, {});
    kernels::fill(device.default_stream(), {.x = grid.gradients, .value = 1});
    std::vector<int64_t> order;
    std::vector<bool> stream_of_bucket;  // whether it is the default one
    GradientReduction reduction(grid, device, {.overlap = true},
                                [&](const Bucket& bucket, const Stream& stream, const Tensor& gradients) {
                                  order.push_back(bucket.begin / 64);
                                  EXPECT_EQ(stream.is_default(), stream_of_bucket[static_cast<size_t>(order.back())]);
                                  grid.inside().all_reduce(stream, gradients, ReduceOp::kSum, "gradients");
                                });
    // The first step tells that a is completed twice a micro-batch; it reduces at its end.
    reduction.begin_step(1);
    for (const size_t slot : {0, 1, 2, 2, 3}) reduction.complete(slot);
    EXPECT_EQ(reduction.overlapped_buckets(), 0);
    stream_of_bucket.assign(4, true);
    reduction.sum_uses(device.default_stream());
    reduction.finish(device.default_stream());
    EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3}));
    order.clear();
    kernels::fill(device.default_stream(), {.x = grid.gradients, .value = 1});
    stream_of_bucket = {false, false, false, true};
    reduction.begin_step(2);
    for (const size_t slot : {1, 2, 2, 2, 0, 1, 2}) reduction.complete(slot);
    EXPECT_EQ(reduction.overlapped_buckets(), 0);  // b and a are complete, c is not
    reduction.complete(0);
    EXPECT_EQ(reduction.overlapped_buckets(), 3);
    EXPECT_THROW(reduction.complete(0), InternalError);
    reduction.complete(3);
    reduction.complete(3);
    EXPECT_EQ(reduction.overlapped_buckets(), 3);  // late waits for its sum over TP
    reduction.sum_uses(device.default_stream());
    reduction.finish(device.default_stream());
    EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3}));
    for (const float value : to_host<float>(device.default_stream(), grid.gradients)) EXPECT_EQ(value, 2);
    // A step whose micro-batches are not known reduces at its end.
    reduction.begin_step(0);
    for (const size_t slot : {0, 0, 1, 1, 2, 2, 3, 3}) reduction.complete(slot);
    EXPECT_EQ(reduction.overlapped_buckets(), 0);
  });
}

struct StoreCase {
  StoreConfig config;
  DType dtype = DType::kF32;
};

void step(TrainingStore& store, Device& device, const ProcessGroups& groups) {
  const Stream stream = device.default_stream();
  store.begin_step(stream, 1);
  for (const Parameter* each : store.parameters()) {
    const Tensor gradient = store.gradient(*each, 0);
    for (int64_t i = 0; i < gradient.element_count(); ++i)
      gradient.data<float>()[i] = static_cast<float>(i % 7) * 0.37f + static_cast<float>(groups.rank());
    store.gradient_complete(*each);
  }
  store.finalize_gradients(stream, 1);
  store.update(stream, {.lr = 0.1, .decoupled_lr = 0.1, .step = 1}, store.clip(stream, 1).scale);
}

// Steps with two parameters of 640 elements; `look` sees what came of it.
void with_store(const StoreCase& one, const std::function<void(TrainingStore&, ProcessGroups&, Device&)>& look) {
  on_two_ranks([&](ProcessGroups& groups, Device& device) {
    const OptimizerConfig adam;
    const auto store = make_training_store(
        {.device = device, .compute_dtype = one.dtype, .optimizer = &adam, .config = one.config, .groups = groups});
    store->declare(parameter("a", 640, 0).spec);
    store->declare(parameter("b", 640, 1).spec);
    store->allocate(1);
    groups.of(GroupKind::kDataContextOfInstance).traffic().reset();
    step(*store, device, groups);
    look(*store, groups, device);
  });
}

TEST(Traffic, OfEachStore) {
  const auto bytes_sent = [](const StoreCase& one, CollectiveKind kind) {
    std::atomic<int64_t> bytes = 0;
    with_store(one, [&](TrainingStore&, ProcessGroups& groups, Device&) {
      bytes = groups.of(GroupKind::kDataContextOfInstance).traffic().total(kind).bytes_sent;
    });
    return bytes.load();
  };
  constexpr int64_t kBytes = 4 * 1280;
  EXPECT_EQ(bytes_sent({}, CollectiveKind::kAllReduce), kBytes);
  EXPECT_EQ(bytes_sent({{.sharded = true}}, CollectiveKind::kAllReduce), 0);
  EXPECT_EQ(bytes_sent({{.sharded = true}}, CollectiveKind::kReduceScatter), kBytes / 2);
  EXPECT_EQ(bytes_sent({{.sharded = true}}, CollectiveKind::kAllGather), kBytes / 2);
  const StoreCase bf16{{.sharded = true, .grad_reduce_in_bf16 = true}, DType::kBF16};
  EXPECT_EQ(bytes_sent(bf16, CollectiveKind::kReduceScatter), kBytes / 4);
  EXPECT_EQ(bytes_sent(bf16, CollectiveKind::kAllGather), kBytes / 4);
  EXPECT_EQ(bytes_sent({{.sharded = true}, DType::kBF16}, CollectiveKind::kReduceScatter), kBytes / 2);
}

// States and main weights are shared; compute weights and gradients are not.
TEST(Memory, OfEachStore) {
  const auto bytes = [](const StoreCase& one, MemoryCategory category) {
    std::atomic<int64_t> held = 0;
    with_store(one, [&](TrainingStore&, ProcessGroups&, Device& device) {
      held = device.allocator().statistics().current[static_cast<size_t>(category)];
    });
    return held.load();
  };
  constexpr int64_t kElements = 1280;
  EXPECT_EQ(bytes({}, MemoryCategory::kOptimizer), kElements * 8);
  EXPECT_EQ(bytes({{.sharded = true}}, MemoryCategory::kOptimizer), kElements * 4);
  EXPECT_EQ(bytes({{}, DType::kBF16}, MemoryCategory::kOptimizer), kElements * 12);
  for (const bool overlap : {false, true}) {
    const StoreCase one{
        {.sharded = true, .overlap_grad_reduce = overlap, .overlap_param_gather = overlap, .grad_reduce_in_bf16 = true},
        DType::kBF16};
    EXPECT_EQ(bytes(one, MemoryCategory::kOptimizer), kElements * 6);
    EXPECT_EQ(bytes(one, MemoryCategory::kWeights), kElements * 2);
    EXPECT_EQ(bytes(one, MemoryCategory::kGradients), kElements * 4);
  }
}

// A rank whose neighbour is behind waits for its weights when it acquires them, not before.
TEST(Gather, AcquireWaits) {
  const StoreCase one{{.sharded = true, .overlap_grad_reduce = true, .overlap_param_gather = true}};
  with_store(one, [](TrainingStore& store, ProcessGroups& groups, Device& device) {
    const Stream stream = device.default_stream();
    const auto weights = [&] {
      std::vector<float> all;
      for (const Parameter* each : store.parameters()) {
        const std::vector<float> values = to_host<float>(stream, store.acquire(*each));
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    };
    device.synchronize();  // the first update is everywhere
    const std::vector<float> before = weights();
    store.begin_step(stream, 1);
    for (const Parameter* each : store.parameters()) kernels::fill(stream, {.x = store.gradient(*each, 0), .value = 1});
    store.finalize_gradients(stream, 1);
    const ClipResult clip = store.clip(stream, 0);
    if (groups.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    store.update(stream, {.lr = 0.1, .decoupled_lr = 0.1, .step = 2}, clip.scale);
    const std::vector<float> after = weights();
    for (size_t i = 0; i < after.size(); ++i) ASSERT_NE(after[i], before[i]) << i;
  });
}

TEST(Main, WeightsOfAShardedStoreAreThereWhereHeld) {
  const StoreCase one{{.sharded = true}, DType::kBF16};
  with_store(one, [](TrainingStore& store, ProcessGroups& groups, Device&) {
    // b is rank 0's, a rank 1's: the buffer begins with the last declared.
    const Parameter& mine = *store.parameters()[groups.rank() == 0 ? 1 : 0];
    const Parameter& other = *store.parameters()[groups.rank() == 0 ? 0 : 1];
    EXPECT_EQ(store.main_weight(mine).element_count(), 640);
    EXPECT_THROW(store.main_weight(other), InternalError);
  });
}

TEST(Sim, ARankOfManyKeepsTheBooks) {
  const auto device = make_device("sim");
  const auto world = make_sim_world(5, 64);
  ProcessGroups groups(RankLayout(data_parallel(64)), *world, false);
  const OptimizerConfig adam;
  const auto store = make_training_store({.device = *device,
                                          .compute_dtype = DType::kBF16,
                                          .optimizer = &adam,
                                          .config = {.sharded = true, .overlap_grad_reduce = true},
                                          .groups = groups});
  store->declare(parameter("a", 64 * 640, 0).spec);
  store->allocate(1);
  const Stream stream = device->default_stream();
  store->begin_step(stream, 1);
  store->gradient_complete(*store->parameters()[0]);
  store->finalize_gradients(stream, 1);
  store->update(stream, {.step = 1}, store->clip(stream, 1).scale);
  EXPECT_EQ(device->allocator().statistics().current[static_cast<size_t>(MemoryCategory::kOptimizer)], 640 * 12);
}

}  // namespace
}  // namespace conclave
