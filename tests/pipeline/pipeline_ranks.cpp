#include "pipeline/pipeline_ranks.h"

#include <random>

#include "config/parse.h"
#include "config/resolve.h"
#include "kernels/elementwise.h"
#include "nn/given_store.h"
#include "schedule/layer_placement.h"

namespace conclave {
namespace {

constexpr int64_t kVocab = 40;
constexpr uint64_t kSeed = 77;

const Words kExperts = {"--moe-ffn-hidden-size", "24",   "--num-experts",    "4",         "--moe-router-topk", "2",
                        "--moe-aux-loss-coeff",  "0.01", "--moe-layer-freq", "[1,0,1,1]", "--moe-grouped-gemm"};

const Words kModel = {"--num-layers",
                      "4",
                      "--hidden-size",
                      "16",
                      "--num-attention-heads",
                      "2",
                      "--seq-length",
                      "10",
                      "--ffn-hidden-size",
                      "24",
                      "--swiglu",
                      "--disable-bias-linear",
                      "--normalization",
                      "RMSNorm",
                      "--position-embedding-type",
                      "rope",
                      "--untie-embeddings-and-output-weights",
                      "--attention-dropout",
                      "0.1",
                      "--hidden-dropout",
                      "0.1",
                      "--micro-batch-size",
                      "2",
                      "--global-batch-size",
                      "8",
                      "--train-iters",
                      "1",
                      "--lr",
                      "1e-2",
                      "--mock-data"};

DeviceBatch make_batch(Device& device, const ModelSpec& spec, int64_t index, int64_t micro_batches) {
  const int64_t sequence = spec.sequence_length, count = 2, rows = sequence * count;
  std::mt19937 random(static_cast<uint32_t>(100 + index));
  const auto draw = [&](int64_t size, int64_t limit) {
    std::vector<int32_t> out(static_cast<size_t>(size));
    for (int32_t& value : out) value = static_cast<int32_t>(random() % static_cast<uint32_t>(limit));
    return out;
  };
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(static_cast<int64_t>(i) % sequence);
  const MemoryTag tag{MemoryCategory::kActivations, "batch"};
  DeviceBatch batch;
  batch.info.sequence_length = sequence;
  batch.info.batch = count;
  batch.info.ordinals = {static_cast<uint64_t>(2 * index), static_cast<uint64_t>(2 * index + 1)};
  batch.info.positions = from_host<int32_t>(device, {count, sequence}, positions, tag);
  batch.tokens = from_host<int32_t>(device, {count, sequence}, draw(rows, kVocab), tag);
  for (size_t depth = 0; depth <= spec.predictions.size(); ++depth) {
    LossTargets targets;
    targets.labels = from_host<int32_t>(device, {rows}, draw(rows, kVocab), tag);
    targets.mask = from_host<float>(device, {rows}, std::vector<float>(static_cast<size_t>(rows), 1.0f), tag);
    const float weight = 1.0f / static_cast<float>(rows * micro_batches);
    targets.row_weight = from_host<float>(device, {rows}, std::vector<float>(static_cast<size_t>(rows), weight), tag);
    if (depth == 0) {
      batch.targets = targets;
    } else {
      batch.further_targets.push_back(targets);
      batch.info.shifted_tokens.push_back(from_host<int32_t>(device, {count, sequence}, draw(rows, kVocab), tag));
    }
  }
  return batch;
}

// One rank with its part of the model.
class Rank {
 public:
  Rank(const PipelineCase& test, World& world, const char* device)
      : test_(test),
        options_(pipeline_options(test)),
        device_(make_device(device)),
        store_(*device_, DType::kF32),
        spec_(make_model_spec(options_, kVocab)),
        placement_(place_layers(placement_args(options_))),
        groups_(pipeline_groups(world, layout_sizes(options_), test.sequence)),
        policy_(make_save_policy({test.recompute_modules})) {
    PipelinePart part = pipeline_part(options_, placement_, *groups_);
    part.weight_gradients = test.weight_gradients;
    part.messages = test.messages;
    chunks_ = make_chunks(store_, *device_,
                          {.spec = spec_,
                           .placement = placement_,
                           .pipeline_rank = part.rank,
                           .recompute = test.full_recompute,
                           .part = groups_->part()});
    store_.allocate(0);
    for (const Parameter* parameter : store_.parameters()) {
      kernels::random_fill(stream(), {.x = store_.acquire(*parameter),
                                      .shard = parameter->spec.shard,
                                      .kind = kernels::RandomKind::kNormal,
                                      .a = parameter->spec.role == ParameterRole::kNorm ? 1.0 : 0.0,
                                      .b = 0.1,
                                      .source = RandomStream(kSeed, parameter->spec.name)});
    }
    executor_ = std::make_unique<StepExecutor>(pointers(chunks_), ExecutorSettings{.stream = stream(),
                                                                                   .store = &store_,
                                                                                   .save_policy = policy_.get(),
                                                                                   .seed = kSeed,
                                                                                   .groups = groups_.get(),
                                                                                   .part = part});
    actions_ = training_actions(part, test.micro_batches);
  }

  void run(PipelineOutcome* outcome) {
    outcome->losses.resize(static_cast<size_t>(test_.micro_batches));
    for (int64_t i = 0; i < test_.micro_batches; ++i) {
      const Tensor losses = executor_->evaluate(make_batch(*device_, spec_, i, test_.micro_batches));
      if (losses.defined()) outcome->evaluations.push_back(to_host<float>(stream(), losses));
    }
    const int64_t before = device_->allocator().statistics().current_total;
    refused_step(outcome);
    device_->allocator().reset_peak();
    step(outcome, [] {});
    outcome->peak = device_->allocator().statistics().peak_total;
    outcome->clean = device_->allocator().statistics().current_total == before;
    for (const Parameter* parameter : store_.parameters()) {
      take_gradient(*parameter, outcome);
      if (parameter->spec.shared_by_stages) outcome->tied.push_back(parameter->spec.name);
    }
  }

 private:
  const PipelineCase& test_;
  Options options_;
  std::unique_ptr<Device> device_;
  GivenStore store_;
  ModelSpec spec_;
  LayerPlacement placement_;
  std::unique_ptr<ProcessGroups> groups_;
  std::unique_ptr<SavePolicy> policy_;
  std::vector<std::unique_ptr<GptChunk>> chunks_;
  std::unique_ptr<StepExecutor> executor_;
  std::vector<StepAction> actions_;

  Stream stream() { return device_->default_stream(); }

  // Sums over all ranks are whole gradients: replicas count once, parts each.
  void take_gradient(const Parameter& parameter, PipelineOutcome* outcome) {
    const ParameterSpec& spec = parameter.spec;
    std::vector<float>& whole = outcome->gradients[spec.name];
    int64_t size = 1;
    for (const int64_t length : spec.shard.global_shape) size *= length;
    whole.resize(static_cast<size_t>(size));
    const bool replica = !spec.replica.empty() && spec.replica[0] != 0;
    if (replica && !spec.partial_over_tensor && !spec.shared_by_stages) return;
    const std::vector<float> local = to_host<float>(stream(), store_.gradient(parameter));
    for (size_t i = 0; i < local.size(); ++i)
      whole[static_cast<size_t>(spec.shard.global_index(static_cast<int64_t>(i)))] = local[i];
  }

  void step(PipelineOutcome* outcome, const std::function<void()>& clip) {
    store_.zero_gradients(stream());
    StepCallbacks callbacks;
    callbacks.batch = [this](int64_t index) {
      CONCLAVE_USER_CHECK(index != 1 || test_.fails_on != groups_->rank(), "this batch is bad");
      return make_batch(*device_, spec_, index, test_.micro_batches);
    };
    callbacks.loss = [this, outcome](const DeviceBatch& batch, const LossResult& result) {
      outcome->losses[static_cast<size_t>(batch.info.index)] = to_host<float>(stream(), result.token_loss);
    };
    callbacks.finalize_gradients = callbacks.update_buffers = callbacks.update_weights = [] {};
    callbacks.clip = clip;
    for (const auto& chunk : chunks_) {
      for (const TransformerLayer* layer : chunk->moe_layers()) layer->moe().router().begin_step(stream());
    }
    executor_->run(actions_, callbacks, {.auxiliary = 1.0 / static_cast<double>(test_.micro_batches)});
  }

  // A step that is refused at its end, as for a loss that is not finite.
  void refused_step(PipelineOutcome* outcome) {
    try {
      step(outcome, [] { throw UserError("refused"); });
    } catch (const UserError& error) {
      if (std::string(error.what()) == "refused") return;
      throw;
    }
    throw InternalError("the step was not refused");
  }
};

void add(const PipelineOutcome& one, PipelineOutcome* sum) {
  for (const auto& [name, values] : one.gradients) {
    std::vector<float>& total = sum->gradients[name];
    if (total.empty()) total.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) total[i] += values[i];
  }
  for (const std::string& name : one.tied) sum->tied.push_back(name);
  sum->losses.resize(one.losses.size());
  for (size_t i = 0; i < one.losses.size(); ++i) {
    if (!one.losses[i].empty()) sum->losses[i] = one.losses[i];
  }
  for (const auto& values : one.evaluations) sum->evaluations.push_back(values);
  sum->clean = sum->clean && one.clean;
}

}  // namespace

Options pipeline_options(const PipelineCase& test) {
  Words words = kModel;
  if (!test.dense) words.insert(words.end(), kExperts.begin(), kExperts.end());
  words.insert(words.end(), test.words.begin(), test.words.end());
  words.insert(words.end(), {"--pipeline-model-parallel-size", std::to_string(test.ranks),
                             "--tensor-model-parallel-size", std::to_string(test.tensor)});
  if (test.sequence) words.push_back("--sequence-parallel");
  Options options = parse_command_line(Command::kTrain, words).options;
  options.parallel.world_size = test.world();
  return resolved(options);
}

std::unique_ptr<ProcessGroups> pipeline_groups(World& world, LayoutSizes sizes, bool sequence_parallel) {
  sizes.world = world.size();
  return std::make_unique<ProcessGroups>(RankLayout(sizes), world, sequence_parallel);
}

std::vector<PipelineOutcome> run_pipeline_ranks(const PipelineCase& test) {
  std::vector<PipelineOutcome> outcomes(static_cast<size_t>(test.world()));
  run_ranks_as_threads(
      {.ranks = test.world(), .settings = {.check_collectives = true, .timeout_seconds = 60}},
      [&](World& world) { Rank(test, world, "cpu").run(&outcomes[static_cast<size_t>(world.rank())]); });
  return outcomes;
}

PipelineOutcome run_pipeline(const PipelineCase& test) {
  PipelineOutcome sum;
  for (const PipelineOutcome& outcome : run_pipeline_ranks(test)) add(outcome, &sum);
  return sum;
}

PipelineOutcome simulate_rank(const PipelineCase& test, int64_t rank) {
  const auto world = make_sim_world(rank, test.world());
  PipelineOutcome outcome;
  Rank(test, *world, "sim").run(&outcome);
  return outcome;
}

}  // namespace conclave
