// Stores under layouts, ranks as threads, against one process.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "comm/world.h"
#include "optim/synthetic_parameters.h"
#include "optim/training_store.h"

namespace conclave {
namespace {

using cases::Numbers;

// What a run of some steps leaves, gathered by global element.
struct Outcome {
  std::map<std::string, std::vector<float>> gradients;  ///< "STEP name"
  std::map<std::string, std::vector<float>> state;
  std::vector<float> norms;  ///< of each step
  std::vector<int64_t> zeros;
  std::vector<double> weight_norms;
};

struct LayoutRun {
  std::string name;
  LayoutSizes sizes;
  StoreConfig config;
  bool sequence_parallel = false;
  bool tied = false;
  DType dtype = DType::kF32;
  OptimizerConfig optimizer;
  Numbers numbers = Numbers::kExact;
  int64_t steps = 3;
};

// Puts pieces of tensors together and finds elements that come twice or never.
class Assembly {
 public:
  void add(const std::string& prefix, const std::vector<StateTensor>& tensors) {
    const std::lock_guard lock(mutex_);
    for (const StateTensor& piece : tensors) {
      std::vector<float>& whole = whole_[prefix + piece.name];
      std::vector<int>& times = times_[prefix + piece.name];
      const auto count = static_cast<size_t>(ShardSpec::whole(piece.shard.global_shape).element_count());
      whole.resize(count);
      times.resize(count);
      ASSERT_EQ(piece.tensor.element_count(), piece.shard.element_count());
      const float* values = piece.tensor.data<float>();
      for (int64_t i = 0; i < piece.shard.element_count(); ++i) {
        const auto at = static_cast<size_t>(piece.shard.global_index(i));
        whole[at] = values[i];
        ++times[at];
      }
    }
  }
  std::map<std::string, std::vector<float>> take() {
    for (const auto& [name, times] : times_) {
      for (const int each : times) {
        EXPECT_EQ(each, 1) << name;
        if (each != 1) break;
      }
    }
    return std::move(whole_);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<float>> whole_;
  std::map<std::string, std::vector<int>> times_;
};

std::unique_ptr<TrainingStore> make_store(const LayoutRun& run, Device& device, ProcessGroups& groups) {
  auto store = make_training_store({.device = device,
                                    .compute_dtype = run.dtype,
                                    .optimizer = &run.optimizer,
                                    .config = run.config,
                                    .groups = groups});
  cases::SyntheticPart({.tied = run.tied}, groups).declare(*store);
  store->allocate(5);
  return store;
}

// Every rank's compute weights are those of the owners of the main weights.
void expect_fresh_compute_weights(TrainingStore& store, const Outcome& outcome) {
  for (const Parameter* parameter : store.parameters()) {
    const Weight weight(store, *parameter);
    const std::vector<float>& main = outcome.state.at(parameter->spec.name);
    const bool bf16 = store.compute_dtype() == DType::kBF16;
    for (int64_t i = 0; i < parameter->spec.shard.element_count(); ++i) {
      const float expected = main[static_cast<size_t>(parameter->spec.shard.global_index(i))];
      const float got = bf16 ? to_float(weight.tensor().data<BF16>()[i]) : weight.tensor().data<float>()[i];
      ASSERT_EQ(got, bf16 ? to_float(to_bf16(expected)) : expected) << parameter->spec.name << " " << i;
    }
  }
}

struct StepNumbers {
  float norm;
  int64_t zeros;
  double weights;
  bool operator==(const StepNumbers&) const = default;
};

StepNumbers take_step(TrainingStore& store, const cases::SyntheticPart& part, const LayoutRun& run, int64_t step) {
  const Stream stream = store.buffer(part.buffers().front().name).device().default_stream();
  store.begin_step(stream, cases::kBatches);
  part.add_gradients(store, step, run.numbers);
  store.finalize_gradients(stream, 0.5);
  const ClipResult clip = store.clip(stream, 40.0);
  StepNumbers numbers{};
  numbers.norm = to_host<float>(stream, clip.norm)[0];
  numbers.zeros = to_host<int64_t>(stream, store.count_zero_gradients(stream))[0];
  store.update(stream, {.lr = 1e-2, .decoupled_lr = 3e-3, .weight_decay = 0.1, .step = step}, clip.scale);
  numbers.weights = to_host<double>(stream, store.weight_square_sum(stream))[0];
  return numbers;
}

Outcome carry_out(const LayoutRun& run) {
  Assembly gradients, states;
  Outcome outcome;
  std::mutex mutex;
  std::vector<std::vector<StepNumbers>> numbers(static_cast<size_t>(run.sizes.world));
  run_ranks_as_threads({.ranks = run.sizes.world, .settings = {.check_collectives = true, .timeout_seconds = 60}},
                       [&](World& world) {
                         const auto device = make_device("cpu");
                         ProcessGroups groups(RankLayout(run.sizes), world, run.sequence_parallel);
                         const auto store = make_store(run, *device, groups);
                         const cases::SyntheticPart part({.tied = run.tied}, groups);
                         const int64_t ranks_of_instance = run.sizes.world / run.sizes.optimizer_instances;
                         const bool first = groups.layout().place(GroupKind::kInstance, world.rank())->index == 0;
                         EXPECT_EQ(groups.of(GroupKind::kInstance).size(), ranks_of_instance);
                         for (int64_t step = 1; step <= run.steps; ++step) {
                           numbers[static_cast<size_t>(world.rank())].push_back(take_step(*store, part, run, step));
                         }
                         states.add("", store->owned_state());
                         // Once more, for the gradients themselves.
                         const Stream stream = device->default_stream();
                         store->begin_step(stream, cases::kBatches);
                         part.add_gradients(*store, 9, run.numbers);
                         store->finalize_gradients(stream, 0.5);
                         if (first) gradients.add("", store->owned_gradients());
                         world.all().barrier("all pieces are there");
                         {
                           const std::lock_guard lock(mutex);
                           if (outcome.state.empty()) outcome.state = states.take();
                         }
                         expect_fresh_compute_weights(*store, outcome);
                       });
  outcome.gradients = gradients.take();
  for (const auto& each : numbers) EXPECT_EQ(each, numbers[0]) << "the same bits on all ranks";
  for (const StepNumbers& each : numbers[0]) {
    outcome.norms.push_back(each.norm);
    outcome.zeros.push_back(each.zeros);
    outcome.weight_norms.push_back(each.weights);
  }
  return outcome;
}

void expect_equal(const std::map<std::string, std::vector<float>>& a,
                  const std::map<std::string, std::vector<float>>& b, float bound) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, values] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    const std::vector<float>& others = b.at(name);
    ASSERT_EQ(values.size(), others.size()) << name;
    float largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(value));
    for (size_t i = 0; i < values.size(); ++i) {
      const bool equal = bound == 0 ? values[i] == others[i] : std::abs(values[i] - others[i]) <= bound * largest;
      ASSERT_TRUE(equal) << name << " element " << i << ": " << values[i] << " and " << others[i];
    }
  }
}

// bound 0: the same bits (but for the order of the norm's f64 sums, which exact numbers do not see).
void expect_equal(const Outcome& a, const Outcome& b, float bound = 0) {
  expect_equal(a.gradients, b.gradients, bound);
  expect_equal(a.state, b.state, bound == 0 ? 0 : 64 * bound);
  EXPECT_EQ(a.zeros, b.zeros);
  for (size_t i = 0; i < a.norms.size(); ++i) {
    EXPECT_GT(a.norms[i], 40) << "clipping must be at work";
    EXPECT_NEAR(a.norms[i] / b.norms[i], 1, bound);
    EXPECT_NEAR(a.weight_norms[i] / b.weight_norms[i], 1, bound == 0 ? 1e-13 : 1e-4);
  }
}

// The same in one process; made once for all layouts.
const Outcome& alone(const LayoutRun& run) {
  static std::map<std::string, Outcome> made;
  const std::string key = fmt::format("{} {} {} {}", run.tied, dtype_name(run.dtype),
                                      static_cast<int>(run.optimizer.kind), static_cast<int>(run.numbers));
  if (!made.contains(key)) {
    LayoutRun one = run;
    one.sizes = {};
    one.config = {};
    made[key] = carry_out(one);
  }
  return made[key];
}

LayoutSizes sizes(int64_t world, int64_t tensor, int64_t context, int64_t pipeline, int64_t expert,
                  int64_t expert_tensor, int64_t instances = 1) {
  return {.world = world,
          .tensor = tensor,
          .context = context,
          .pipeline = pipeline,
          .expert = expert,
          .expert_tensor = expert_tensor,
          .optimizer_instances = instances};
}

std::vector<LayoutRun> layouts() {
  std::vector<LayoutRun> out;
  const auto add = [&](const char* name, const LayoutSizes& layout, bool sequence_parallel = false, bool tied = false) {
    for (const bool sharded : {false, true}) {
      LayoutRun run;
      run.name = std::string(name) + (sharded ? "_zero1" : "_plain");
      run.sizes = layout;
      run.config = {.sharded = sharded, .bucket_elements = 1500};
      run.sequence_parallel = sequence_parallel;
      run.tied = tied;
      out.push_back(run);
    }
  };
  add("one", sizes(1, 1, 1, 1, 1, 1));
  add("dp2", sizes(2, 1, 1, 1, 1, 1));
  add("dp3", sizes(3, 1, 1, 1, 1, 1));
  add("dp4_ep2", sizes(4, 1, 1, 1, 2, 1));
  add("dp4_ep4", sizes(4, 1, 1, 1, 4, 1));
  add("tp2_dp2", sizes(4, 2, 1, 1, 1, 1), true);
  add("tp4", sizes(4, 4, 1, 1, 1, 1), true);
  add("tp4_without_sp", sizes(4, 4, 1, 1, 2, 1), false);
  add("tp2_ep2_etp1", sizes(4, 2, 1, 1, 2, 1), true);
  add("etp2_ep3", sizes(6, 1, 1, 1, 3, 2));
  add("cp2_dp2", sizes(4, 1, 2, 1, 1, 1));
  add("cp2_tp2_dp2_ep4_etp2", sizes(8, 2, 2, 1, 4, 2), true);
  add("pp2_dp2", sizes(4, 1, 1, 2, 2, 1));
  add("pp3", sizes(3, 1, 1, 3, 1, 1));
  add("pp2_tp2_dp2_tied", sizes(8, 2, 1, 2, 2, 1), true, true);
  add("pp2_tied", sizes(2, 1, 1, 2, 1, 1), false, true);
  add("dp2_tied", sizes(2, 1, 1, 1, 2, 1), false, true);
  add("dp4_instances2", sizes(4, 1, 1, 1, 1, 1, 2));
  add("dp8_ep2_instances2", sizes(8, 1, 1, 1, 2, 1, 2));
  add("tp2_dp4_ep2_etp2_instances2", sizes(8, 2, 1, 1, 2, 2, 2), true);
  return out;
}

class Stores : public testing::TestWithParam<LayoutRun> {};

TEST_P(Stores, EqualOneProcess) {
  for (const OptimizerKind kind : {OptimizerKind::kAdam, OptimizerKind::kSgd}) {
    LayoutRun run = GetParam();
    run.optimizer.kind = kind;
    expect_equal(alone(run), carry_out(run));
  }
}

// Weights in bf16, main weights in f32; and ordinary numbers, whose sums depend on their order.
TEST_P(Stores, EqualOneProcessInBf16) {
  LayoutRun run = GetParam();
  run.dtype = DType::kBF16;
  expect_equal(alone(run), carry_out(run));
}

TEST_P(Stores, OrdinaryNumbersAreWithinRounding) {
  LayoutRun run = GetParam();
  run.numbers = Numbers::kRounded;
  expect_equal(alone(run), carry_out(run), 1e-6f);
}

// Whatever the order of sums: sharing the states, cutting buckets at matrices or overlapping changes no bit.
TEST_P(Stores, OptionsThatMustNotChangeBits) {
  LayoutRun run = GetParam();
  run.numbers = Numbers::kRounded;
  const Outcome base = carry_out(run);
  LayoutRun other = run;
  other.config.overlap_grad_reduce = true;
  expect_equal(base, carry_out(other));
  other.config.overlap_param_gather = run.config.sharded;
  other.config.unit = ShardUnit::kMatrices;
  expect_equal(base, carry_out(other));
  other.config = {.sharded = !run.config.sharded, .bucket_count = 3};
  const Outcome changed = carry_out(other);
  expect_equal(base.gradients, changed.gradients, 0);
}

// A tied embedding over two stages is summed like the two uses of one process.
TEST(Pipeline, ChangesNoBitOfOrdinaryNumbers) {
  for (const bool tied : {false, true}) {
    LayoutRun run;
    run.tied = tied;
    run.numbers = Numbers::kRounded;
    LayoutRun other = run;
    other.sizes = sizes(3, 1, 1, 3, 1, 1);
    expect_equal(alone(run).gradients, carry_out(other).gradients, 0);
  }
}

TEST(Bf16, ReductionRounds) {
  LayoutRun run;
  run.sizes = sizes(4, 1, 1, 1, 2, 1);
  run.dtype = DType::kBF16;
  run.numbers = Numbers::kRounded;
  run.config.bucket_elements = 1500;
  const Outcome exact = carry_out(run);
  run.config.grad_reduce_in_bf16 = true;
  const Outcome rounded = carry_out(run);
  expect_equal(exact.gradients, rounded.gradients, 0x1p-7f);
  EXPECT_NE(exact.gradients, rounded.gradients);
  run.config.sharded = true;
  run.config.overlap_grad_reduce = true;
  expect_equal(rounded, carry_out(run));
}

INSTANTIATE_TEST_SUITE_P(Layouts, Stores, testing::ValuesIn(layouts()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace conclave
