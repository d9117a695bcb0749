#include "trainer/engine.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "checkpoint/tensor_directory.h"
#include "kernels/elementwise.h"
#include "kernels/masked_sum.h"
#include "kernels/op_watch.h"
#include "trainer/prediction_targets.h"

namespace conclave {

NonFiniteStep::NonFiniteStep(double loss, double norm)
    : Error(fmt::format("the step gave a loss sum of {} and a gradient norm of {}", loss, norm)),
      loss_sum(loss),
      gradient_norm(norm) {}

SelectivePolicy selective_policy(const MemoryOptions& memory) {
  if (memory.recompute_granularity != "selective") return {};
  return {memory.recompute_modules};
}

FullRecompute full_recompute(const MemoryOptions& memory) {
  if (memory.recompute_granularity != "full") return {};
  return {memory.recompute_method == "block" ? FullRecompute::Method::kBlock : FullRecompute::Method::kUniform,
          memory.recompute_num_layers};
}

namespace {

StoreConfig store_config(const Options& options) {
  const ParallelOptions& parallel = options.parallel;
  return {.sharded = parallel.use_distributed_optimizer,
          .bucket_elements = parallel.ddp_bucket_size,
          .bucket_count = parallel.ddp_num_buckets,
          .overlap_grad_reduce = parallel.overlap_grad_reduce,
          .overlap_param_gather = parallel.overlap_param_gather,
          .grad_reduce_in_bf16 = options.precision.grad_reduce_in_bf16};
}

std::string routing_text(const RoutingSummary& summary) {
  Json layers = Json::array();
  for (const RoutingSummary::Layer& layer : summary.layers) {
    Json one = Json::object(), losses = Json::array(), tokens = Json::array();
    for (const RoutingReport::Loss& loss : layer.report.losses) {
      losses.push_back(loss.name);
      losses.push_back(loss.sum);
    }
    for (const double count : layer.report.tokens) tokens.push_back(count);
    one["layer"] = layer.layer;
    one["losses"] = losses;
    one["tokens"] = tokens;
    one["choices"] = layer.report.choices;
    one["micro_batches"] = layer.report.micro_batches;
    layers.push_back(one);
  }
  return layers.dump();
}

void append_routing(const std::string& text, RoutingSummary* summary) {
  const Json layers = Json::parse(text, "a pipeline stage's routing");
  for (const Json& one : layers.as_array()) {
    RoutingSummary::Layer layer{one.at("layer").as_int(), {}};
    const Json::Array& losses = one.at("losses").as_array();
    for (size_t i = 0; i + 1 < losses.size(); i += 2)
      layer.report.losses.push_back({losses[i].as_string(), losses[i + 1].as_double()});
    for (const Json& count : one.at("tokens").as_array()) layer.report.tokens.push_back(count.as_double());
    layer.report.choices = one.at("choices").as_int();
    layer.report.micro_batches = one.at("micro_batches").as_int();
    summary->layers.push_back(std::move(layer));
  }
}

}  // namespace

// What the callbacks of one step share.
struct Engine::Progress {
  Tensor loss_sums;  // [2 + depths] f64: masked loss, valid tokens; by prediction depth the sum over micro-batches
                     // of loss per valid token
  int64_t micro_batches = 0;  // of the step, over all data-parallel ranks
  ClipResult clip;
  std::vector<double> sums;  // loss_sums of the whole job
  double gradient_norm = 0;
  StepResult result;
};

Engine::Engine(const Options& options, int64_t vocab, Device& device, bool trains, ProcessGroups& groups)
    : options_(options), device_(device), groups_(groups), spec_(make_model_spec(options, vocab)) {
  const OptimizerConfig optimizer{
      .kind = options.optimizer.optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdam,
      .beta1 = options.optimizer.adam_beta1,
      .beta2 = options.optimizer.adam_beta2,
      .epsilon = options.optimizer.adam_eps,
      .momentum = options.optimizer.sgd_momentum};
  const LayerPlacement placement = place_layers(placement_args(options));
  pipeline_ = pipeline_part(options, placement, groups);
  store_ = make_training_store({.device = device,
                                .compute_dtype = options.precision.bf16 ? DType::kBF16 : DType::kF32,
                                .optimizer = trains ? &optimizer : nullptr,
                                .config = store_config(options),
                                .groups = groups});
  chunks_ = make_chunks(*store_, device,
                        {.spec = spec_,
                         .placement = placement,
                         .pipeline_rank = pipeline_.rank,
                         .recompute = full_recompute(options.memory),
                         .part = groups.part()});
  store_->allocate(static_cast<uint64_t>(options.training.seed));
  save_policy_ = make_save_policy(selective_policy(options.memory));
  executor_ = std::make_unique<StepExecutor>(pointers(chunks_),
                                             ExecutorSettings{.stream = device.default_stream(),
                                                              .store = store_.get(),
                                                              .save_policy = save_policy_.get(),
                                                              .seed = static_cast<uint64_t>(options.training.seed),
                                                              .groups = &groups_,
                                                              .part = pipeline_});
  uploader_ = std::make_unique<BatchUploader>(device, spec_, groups.part(), options.model.calculate_per_token_loss);
  groups.prepare(device.default_stream());
  if (trains) {
    recorded_ = make_recorded_passes(options, device, groups.world().size(),
                                     2 + static_cast<int64_t>(spec_.predictions.size()));
  }
  schedule_ = [this](int64_t micro_batches) { return training_actions(pipeline_, micro_batches); };
  if (trains) follow_routing();
}

void Engine::follow_routing() {
  const MoeOptions& moe = options_.moe;
  if (device_.is_sim()) {
    load_ = make_routing_load(moe.moe_routing_imbalance);
  } else if (moe.moe_routing_trace_path || moe.moe_routing_replay_path) {
    trace_ =
        std::make_unique<RoutingTrace>(RoutingTrace::Settings{.write = moe.moe_routing_trace_path.value_or(""),
                                                              .replay = moe.moe_routing_replay_path.value_or(""),
                                                              .most_steps = moe.moe_routing_trace_max_training_iters,
                                                              .experts = moe.num_experts},
                                       groups_.rank(), groups_.world().size());
  }
  for (const auto& chunk : chunks_) {
    for (TransformerLayer* layer : chunk->moe_layers()) {
      layer->moe().router().set_replay(trace_.get());
      layer->moe().router().set_load(load_.get());
    }
  }
}

std::vector<const TransformerLayer*> Engine::moe_layers() const {
  std::vector<const TransformerLayer*> out;
  for (const auto& chunk : chunks_) out.insert(out.end(), chunk->moe_layers().begin(), chunk->moe_layers().end());
  return out;
}

Tensor Engine::zero_sums(int64_t count) const {
  const Tensor sums = Tensor::empty(device_, {count}, DType::kF64, {MemoryCategory::kWorkspace, "loss sums"});
  kernels::fill(device_.default_stream(), {.x = sums, .value = 0});
  return sums;
}

// Sums that the ranks with the output made of their own sequences (and parts of sequences).
void Engine::sum_over_job(const Tensor& sums) const {
  const Stream stream = device_.default_stream();
  groups_.of(GroupKind::kDataContext).all_reduce(stream, sums, ReduceOp::kSum, "loss sums");
  groups_.of(GroupKind::kPipeline).all_reduce(stream, sums, ReduceOp::kSum, "loss sums");
}

LossWeights Engine::loss_weights(const MicroBatch& first, int64_t micro_batches) const {
  LossWeights weights;
  weights.auxiliary = options_.model.calculate_per_token_loss ? static_cast<double>(first.batch * first.seq_length)
                                                              : 1.0 / static_cast<double>(micro_batches);
  return weights;
}

StepResult Engine::train_step(std::span<const MicroBatch> micro_batches, const StepRequest& request) {
  const Stream stream = device_.default_stream();
  const auto count = static_cast<int64_t>(micro_batches.size());
  Progress progress;
  progress.micro_batches = count * groups_.layout().data_size();
  for (const TransformerLayer* layer : moe_layers()) layer->moe().router().begin_step(stream);
  store_->begin_step(stream, count);
  if (trace_) trace_->begin_step();
  executor_->set_iteration(request.iteration);
  run_step(micro_batches, request, &progress);
  if (trace_) trace_->end_step(request.iteration);
  StepResult result = progress.result;
  result.loss_sum = progress.sums[0];
  result.tokens = progress.sums[1];
  result.gradient_norm = progress.gradient_norm;
  for (size_t depth = 2; depth < progress.sums.size(); ++depth)
    result.prediction_losses.push_back(progress.sums[depth] / static_cast<double>(progress.micro_batches));
  return result;
}

// Recorded are the passes alone: what follows takes numbers of the step (rates, norms) and is few launches.
void Engine::run_step(std::span<const MicroBatch> micro_batches, const StepRequest& request, Progress* progress) {
  const std::vector<StepAction> actions = schedule_(static_cast<int64_t>(micro_batches.size()));
  const LossWeights weights = loss_weights(micro_batches.front(), progress->micro_batches);
  StepCallbacks plain = callbacks(micro_batches, request, progress);
  if (recorded_ == nullptr || executor_->is_watched() || kernels::ops_are_watched() || on_token_losses_) {
    progress->loss_sums = zero_sums(2 + static_cast<int64_t>(spec_.predictions.size()));
    executor_->run(actions, plain, weights);
    return;
  }
  const auto tail = std::find_if(actions.begin(), actions.end(), [](const StepAction& action) {
    return action.kind >= ActionKind::kFinalizeGradients;
  });
  progress->loss_sums = recorded_->loss_sums();
  const auto passes = [&](const std::vector<DeviceBatch>& batches, const Tensor&) {
    StepCallbacks placed = plain;
    placed.batch = [&](int64_t index) { return batches[static_cast<size_t>(index)]; };
    executor_->run({actions.begin(), tail}, placed, weights);
  };
  recorded_->run(
      micro_batches,
      [&](const MicroBatch& batch) { return uploader_->upload_for_step(batch, progress->micro_batches); }, passes,
      [&] { count_again(micro_batches); });
  executor_->run({tail, actions.end()}, plain, weights);
}

// What forward passes count on the host.
void Engine::count_again(std::span<const MicroBatch> micro_batches) const {
  for (const TransformerLayer* layer : moe_layers()) {
    for (const MicroBatch& batch : micro_batches)
      layer->moe().router().count_micro_batch(batch.batch * batch.seq_length);
  }
}

StepCallbacks Engine::callbacks(std::span<const MicroBatch> micro_batches, const StepRequest& request,
                                Progress* progress) {
  const Stream stream = device_.default_stream();
  StepCallbacks out;
  out.batch = [this, micro_batches, progress](int64_t index) {
    return uploader_->upload_for_step(micro_batches[static_cast<size_t>(index)], progress->micro_batches);
  };
  out.loss = [this, progress](const DeviceBatch& batch, const LossResult& loss) { add_losses(batch, loss, progress); };
  out.finalize_gradients = [this, &request, progress] { finalize(request, progress); };
  out.clip = [this, &request, progress] { clip(request, progress); };
  out.update_buffers = [this, stream] {
    for (const TransformerLayer* layer : moe_layers()) layer->moe().router().end_step(stream, *store_, groups_);
  };
  out.update_weights = [this, &request, progress] { update(request, progress); };
  return out;
}

void Engine::add_losses(const DeviceBatch& batch, const LossResult& loss, Progress* progress) const {
  const Stream stream = device_.default_stream();
  kernels::masked_sum(stream,
                      {.values = loss.token_loss, .mask = batch.targets.mask, .out = progress->loss_sums.slice(0, 2)});
  for (size_t depth = 0; depth < loss.prediction_losses.size(); ++depth) {
    const Tensor sums = zero_sums(2);
    kernels::masked_sum(
        stream, {.values = loss.prediction_losses[depth], .mask = batch.further_targets[depth].mask, .out = sums});
    const auto at = static_cast<int64_t>(2 + depth);
    kernels::scale(
        stream,
        {.x = sums.slice(0, 1), .y = progress->loss_sums.slice(at, at + 1), .accumulate = kernels::Accumulate::kAdd});
  }
  if (on_token_losses_) on_token_losses_(batch.info.index, loss.token_loss);
}

void Engine::finalize(const StepRequest& request, Progress* progress) {
  sum_over_job(progress->loss_sums);
  double scale = 1;
  if (options_.model.calculate_per_token_loss) {
    // The one divisor that data decide: read before the gradients are final.
    scale = 1.0 / std::max(to_host<double>(device_.default_stream(), progress->loss_sums)[1], 1.0);
  }
  store_->finalize_gradients(device_.default_stream(), scale);
  if (request.on_gradients) request.on_gradients();
}

void Engine::clip(const StepRequest& request, Progress* progress) {
  const Stream stream = device_.default_stream();
  progress->clip = store_->clip(stream, request.clip);
  // The step's only host read, unless losses are per token.
  progress->sums = to_host<double>(stream, progress->loss_sums);
  progress->gradient_norm = to_host<float>(stream, progress->clip.norm)[0];
  if (request.check_finite && !(std::isfinite(progress->sums[0]) && std::isfinite(progress->gradient_norm)))
    throw NonFiniteStep(progress->sums[0], progress->gradient_norm);
  if (request.check) request.check(progress->sums[0] / std::max(progress->sums[1], 1.0), progress->gradient_norm);
}

void Engine::update(const StepRequest& request, Progress* progress) {
  const Stream stream = device_.default_stream();
  if (request.count_zeros)
    progress->result.zero_gradients = to_host<int64_t>(stream, store_->count_zero_gradients(stream))[0];
  if (request.update) {
    store_->update(stream, request.rates, progress->clip.scale);
    progress->result.updated = true;
  }
  if (request.weight_norm)
    progress->result.weight_norm = std::sqrt(to_host<double>(stream, store_->weight_square_sum(stream))[0]);
}

RoutingSummary Engine::take_routing() {
  const Stream stream = device_.default_stream();
  RoutingSummary summary;
  for (const TransformerLayer* layer : moe_layers()) {
    const Router& router = layer->moe().router();
    summary.layers.push_back({layer->index(), router.statistics().read(stream, groups_)});
    router.reset_statistics(stream);
  }
  Communicator& pipeline = groups_.of(GroupKind::kPipeline);
  if (pipeline.size() == 1 || device_.is_sim()) return summary;
  // Every stage knows its own layers.
  const std::vector<std::string> own(static_cast<size_t>(pipeline.size()), routing_text(summary));
  RoutingSummary all;
  for (const std::string& text : exchange_texts(pipeline, stream, own)) append_routing(text, &all);
  std::sort(all.layers.begin(), all.layers.end(), [](const auto& a, const auto& b) { return a.layer < b.layer; });
  return all;
}

double RoutingSummary::layer_mean(const Layer& layer, const std::string& name) {
  for (const RoutingReport::Loss& loss : layer.report.losses) {
    if (loss.name == name) return loss.sum / static_cast<double>(std::max<int64_t>(layer.report.micro_batches, 1));
  }
  return 0;
}

std::map<std::string, double> RoutingSummary::means() const {
  std::map<std::string, double> out;
  for (const Layer& layer : layers) {
    for (const RoutingReport::Loss& loss : layer.report.losses)
      out[loss.name] += layer_mean(layer, loss.name) / static_cast<double>(layers.size());
  }
  return out;
}

EvaluationSum Engine::evaluate(const MicroBatch& batch) {
  const Stream stream = device_.default_stream();
  const DeviceBatch on_device = uploader_->upload(batch, 0.0);
  const Tensor losses = executor_->evaluate(on_device);
  const Tensor sums = zero_sums(2);
  if (losses.defined()) kernels::masked_sum(stream, {.values = losses, .mask = on_device.targets.mask, .out = sums});
  sum_over_job(sums);
  const std::vector<double> values = to_host<double>(stream, sums);
  return {values[0], values[1]};
}

// Of the last `positions`.
std::vector<float> Engine::forward_logits(const MicroBatch& batch, KvCache* cache, int64_t positions) {
  const Slice context = groups_.part().context;
  CONCLAVE_CHECK(context.is_whole() || cache == nullptr, "a cache of a sequence that is cut over {} ranks of CP",
                 context.size);
  const Stream stream = device_.default_stream();
  const DeviceBatch on_device = uploader_->upload(batch, 0);
  const int64_t rows = context.share(positions) * batch.batch;
  Tensor logits = Tensor::empty(device_, {rows, spec_.vocab}, DType::kF32, {MemoryCategory::kActivations, "logits"});
  executor_->forward_only(1, {.batch = [&](int64_t) { return on_device; },
                              .prepare = [&](int64_t, Context& pass) { pass.cache = cache; },
                              .result =
                                  [&](const Context& pass, const DeviceBatch&, const LayerMessage& hidden) {
                                    const Tensor& all = hidden.hidden;
                                    const int64_t first = positions < batch.seq_length ? all.size(0) - positions : 0;
                                    logits = chunks_.back()->logits(pass, all.slice(first, all.size(0)));
                                  }});
  if (cache != nullptr) cache->advance(batch.seq_length);
  groups_.of(GroupKind::kPipeline).broadcast(stream, logits, static_cast<int>(pipeline_.loss_rank()), "logits");
  return context.is_whole() ? to_host<float>(stream, logits) : whole_sequence(logits, positions, batch.batch);
}

/// Rows [S'*B, V] of every rank of CP, in the order of the sequence.
std::vector<float> Engine::whole_sequence(const Tensor& part, int64_t sequence, int64_t batch) const {
  const Slice context = groups_.part().context;
  const Stream stream = device_.default_stream();
  const int64_t width = part.size(1);
  const Tensor all = Tensor::empty(device_, {context.size * part.size(0), width}, part.dtype(),
                                   {MemoryCategory::kActivations, "logits"});
  groups_.of(GroupKind::kContext).all_gather(stream, part, all, "logits");
  const std::vector<float> gathered = to_host<float>(stream, all);
  std::vector<float> out(gathered.size());
  for (int64_t rank = 0; rank < context.size; ++rank) {
    for (const SequencePiece& piece : sequence_pieces(sequence, {.rank = rank, .size = context.size})) {
      const int64_t from = rank * part.size(0) + piece.begin * batch;
      std::copy_n(gathered.begin() + from * width, piece.size * batch * width,
                  out.begin() + piece.position * batch * width);
    }
  }
  return out;
}

std::vector<float> Engine::next_logits(const MicroBatch& batch, KvCache& cache) {
  return forward_logits(batch, &cache, 1);
}

std::vector<float> Engine::logits(const MicroBatch& batch) { return forward_logits(batch, nullptr, batch.seq_length); }

void Engine::layer_pass(const DeviceBatch& batch, bool backward) {
  CONCLAVE_CHECK(chunks_.size() == 1, "a pass through the layers of {} chunks", chunks_.size());
  const auto& layers = chunks_.front()->layers();
  Context context{.stream = device_.default_stream(),
                  .store = *store_,
                  .weight_gradients = no_gradients_,
                  .save_policy = *save_policy_,
                  .batch = batch.info,
                  .seed = static_cast<uint64_t>(options_.training.seed),
                  .training = backward,
                  .with_gradient = backward,
                  .groups = &groups_};
  LayerMessage message{context.empty({batch.info.sequence_length, batch.info.batch, spec_.hidden}, "bench")};
  kernels::fill(context.stream, {.x = message.hidden, .value = 0.5});
  std::vector<LayerState> states(layers.size());
  for (size_t i = 0; i < states.size(); ++i) message = layers[i]->forward(context, message, &states[i]);
  if (!backward) return;
  kernels::fill(context.stream, {.x = message.hidden, .value = 1});
  for (size_t i = states.size(); i-- > 0;) message = layers[i]->backward(context, message, &states[i]);
}

}  // namespace conclave
