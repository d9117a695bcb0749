#include "trainer/engine.h"

#include <cmath>
#include <numeric>

#include "kernels/elementwise.h"
#include "kernels/masked_sum.h"
#include "trainer/prediction_targets.h"

namespace conclave {

double valid_tokens(const MicroBatch& batch) {
  double sum = 0;
  for (const float value : batch.loss_mask) sum += value;
  return sum;
}

MicroBatch plain_batch(int64_t batch, int64_t seq_length, int64_t first_ordinal) {
  MicroBatch out;
  out.batch = batch;
  out.seq_length = seq_length;
  const auto count = static_cast<size_t>(batch * seq_length);
  out.tokens.assign(count, 0);
  out.labels.assign(count, 0);
  out.loss_mask.assign(count, 1.0f);
  out.position_ids.resize(count);
  for (size_t i = 0; i < count; ++i) out.position_ids[i] = static_cast<int32_t>(static_cast<int64_t>(i) % seq_length);
  out.ordinals.resize(static_cast<size_t>(batch));
  std::iota(out.ordinals.begin(), out.ordinals.end(), first_ordinal);
  return out;
}

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

// [B,S]: where the document of each token begins.
std::vector<int32_t> document_starts(const MicroBatch& batch) {
  std::vector<int32_t> starts;
  for (const std::vector<int32_t>& ends : batch.cu_seqlens) {
    for (size_t d = 0; d + 1 < ends.size(); ++d)
      starts.insert(starts.end(), static_cast<size_t>(ends[d + 1] - ends[d]), ends[d]);
  }
  return starts;
}

}  // namespace

// What the callbacks of one step share.
struct Engine::Progress {
  Tensor loss_sums;                     // [2] f64: masked loss, valid tokens
  std::vector<Tensor> prediction_sums;  // [2] f64 by depth: sum over micro-batches of loss per valid token
  ClipResult clip;
  double valid_tokens = 0;  // known on the host beforehand
  double loss_sum = 0;
  double gradient_norm = 0;
  StepResult result;
};

Engine::Engine(const Options& options, int64_t vocab, Device& device, bool trains)
    : options_(options), device_(device), spec_(make_model_spec(options, vocab)) {
  const OptimizerConfig optimizer{
      .kind = options.optimizer.optimizer == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdam,
      .beta1 = options.optimizer.adam_beta1,
      .beta2 = options.optimizer.adam_beta2,
      .epsilon = options.optimizer.adam_eps,
      .momentum = options.optimizer.sgd_momentum};
  store_ = make_plain_store(device, options.precision.bf16 ? DType::kBF16 : DType::kF32, trains ? &optimizer : nullptr);
  const ChunkRange whole{
      .begin = 0, .end = static_cast<int64_t>(spec_.layers.size()), .embedding = true, .output = true};
  chunk_ = std::make_unique<GptChunk>(*store_, device, spec_, whole, full_recompute(options.memory));
  store_->allocate(static_cast<uint64_t>(options.training.seed));
  save_policy_ = make_save_policy(selective_policy(options.memory));
  executor_ = std::make_unique<StepExecutor>(std::vector<const GptChunk*>{chunk_.get()},
                                             ExecutorSettings{.stream = device.default_stream(),
                                                              .store = store_.get(),
                                                              .save_policy = save_policy_.get(),
                                                              .seed = static_cast<uint64_t>(options.training.seed)});
  schedule_ = [](int64_t micro_batches) { return sequential_step(micro_batches, WeightGradientTiming::kWithBackward); };
}

double Engine::row_weight(const MicroBatch& batch, int64_t micro_batches) const {
  if (options_.model.calculate_per_token_loss) return 1.0;
  return 1.0 / (std::max(valid_tokens(batch), 1.0) * static_cast<double>(micro_batches));
}

DeviceBatch Engine::upload(const MicroBatch& batch, double weight) {
  const int64_t sequence = batch.seq_length, count = batch.batch;
  const MemoryTag tag{MemoryCategory::kActivations, "batch"};
  DeviceBatch out;
  out.info.sequence_length = sequence;
  out.info.batch = count;
  out.info.ordinals.assign(batch.ordinals.begin(), batch.ordinals.end());
  out.tokens = from_host<int32_t>(device_, {count, sequence}, batch.tokens, tag);
  out.info.positions = from_host<int32_t>(device_, {count, sequence}, batch.position_ids, tag);
  if (!batch.cu_seqlens.empty())
    out.info.document_starts = from_host<int32_t>(device_, {count, sequence}, document_starts(batch), tag);
  upload_targets(batch, batch.labels, batch.loss_mask, weight, &out.targets);
  return out;
}

void Engine::upload_targets(const MicroBatch& batch, const std::vector<int32_t>& labels, const std::vector<float>& mask,
                            double weight, LossTargets* targets) {
  const MemoryTag tag{MemoryCategory::kActivations, "batch"};
  const int64_t sequence = batch.seq_length, count = batch.batch;
  // Rows of the output product are token-major: t = s*B + b.
  const auto total = static_cast<size_t>(count * sequence);
  std::vector<int32_t> label_rows(total);
  std::vector<float> mask_rows(total), weights(total);
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t s = 0; s < sequence; ++s) {
      const auto from = static_cast<size_t>(b * sequence + s), to = static_cast<size_t>(s * count + b);
      label_rows[to] = labels[from];
      mask_rows[to] = mask[from];
      weights[to] = static_cast<float>(static_cast<double>(mask[from]) * weight);
    }
  }
  targets->labels = from_host<int32_t>(device_, {count * sequence}, label_rows, tag);
  targets->mask = from_host<float>(device_, {count * sequence}, mask_rows, tag);
  targets->row_weight = from_host<float>(device_, {count * sequence}, weights, tag);
}

void Engine::upload_predictions(const MicroBatch& batch, int64_t micro_batches, DeviceBatch* out) {
  const int64_t depths = chunk_->prediction_depths();
  const double factor = spec_.prediction_loss_factor / static_cast<double>(std::max<int64_t>(depths, 1));
  for (ShiftedFields& fields : shifted_fields(batch, depths)) {
    out->info.shifted_tokens.push_back(from_host<int32_t>(device_, {batch.batch, batch.seq_length}, fields.tokens,
                                                          {MemoryCategory::kActivations, "batch"}));
    const double valid = std::max(fields.valid, 1.0);
    const double weight = options_.model.calculate_per_token_loss
                              ? factor * valid_tokens(batch) / valid
                              : factor / (valid * static_cast<double>(micro_batches));
    // Under this mask the sum of losses is their mean, which is what the log averages over micro-batches.
    std::vector<float> mean_mask = fields.mask;
    for (float& value : mean_mask) value = static_cast<float>(value / valid);
    LossTargets targets;
    upload_targets(batch, fields.labels, mean_mask, weight * valid, &targets);
    out->further_targets.push_back(std::move(targets));
  }
}

StepResult Engine::train_step(std::span<const MicroBatch> micro_batches, const StepRequest& request) {
  const Stream stream = device_.default_stream();
  const auto count = static_cast<int64_t>(micro_batches.size());
  Progress progress;
  progress.loss_sums = Tensor::empty(device_, {2}, DType::kF64, {MemoryCategory::kWorkspace, "loss sums"});
  kernels::fill(stream, {.x = progress.loss_sums, .value = 0});
  for (const MicroBatch& batch : micro_batches) progress.valid_tokens += valid_tokens(batch);
  LossWeights weights;
  const MicroBatch& first = micro_batches.front();
  weights.auxiliary = options_.model.calculate_per_token_loss ? static_cast<double>(first.batch * first.seq_length)
                                                              : 1.0 / static_cast<double>(count);
  for (int64_t depth = 0; depth < chunk_->prediction_depths(); ++depth) {
    progress.prediction_sums.push_back(
        Tensor::empty(device_, {2}, DType::kF64, {MemoryCategory::kWorkspace, "loss sums"}));
    kernels::fill(stream, {.x = progress.prediction_sums.back(), .value = 0});
  }
  for (const TransformerLayer* layer : chunk_->moe_layers()) layer->moe().router().begin_step(stream);
  store_->begin_step(stream, count);
  executor_->set_iteration(request.iteration);
  executor_->run(schedule_(count), callbacks(micro_batches, request, &progress), weights);
  StepResult result = progress.result;
  result.loss_sum = progress.loss_sum;
  result.tokens = progress.valid_tokens;
  result.gradient_norm = progress.gradient_norm;
  for (const Tensor& sums : progress.prediction_sums)
    result.prediction_losses.push_back(to_host<double>(stream, sums)[0] / static_cast<double>(count));
  return result;
}

StepCallbacks Engine::callbacks(std::span<const MicroBatch> micro_batches, const StepRequest& request,
                                Progress* progress) {
  const Stream stream = device_.default_stream();
  const auto count = static_cast<int64_t>(micro_batches.size());
  StepCallbacks out;
  out.batch = [this, micro_batches, count](int64_t index) {
    const MicroBatch& batch = micro_batches[static_cast<size_t>(index)];
    DeviceBatch out_batch = upload(batch, row_weight(batch, count));
    upload_predictions(batch, count, &out_batch);
    return out_batch;
  };
  out.loss = [this, stream, progress](const DeviceBatch& batch, const LossResult& loss) {
    kernels::masked_sum(stream, {.values = loss.token_loss, .mask = batch.targets.mask, .out = progress->loss_sums});
    for (size_t depth = 0; depth < loss.prediction_losses.size(); ++depth) {
      kernels::masked_sum(stream, {.values = loss.prediction_losses[depth],
                                   .mask = batch.further_targets[depth].mask,
                                   .out = progress->prediction_sums[depth]});
    }
    if (on_token_losses_) on_token_losses_(batch.info.index, loss.token_loss);
  };
  out.finalize_gradients = [this, &request, progress] { finalize(request, *progress); };
  out.clip = [this, stream, &request, progress] {
    progress->clip = store_->clip(stream, request.clip);
    // The step's only host read.
    progress->loss_sum = to_host<double>(stream, progress->loss_sums)[0];
    progress->gradient_norm = to_host<float>(stream, progress->clip.norm)[0];
    if (request.check_finite && !(std::isfinite(progress->loss_sum) && std::isfinite(progress->gradient_norm))) {
      throw NonFiniteStep(progress->loss_sum, progress->gradient_norm);
    }
    if (request.check)
      request.check(progress->loss_sum / std::max(progress->valid_tokens, 1.0), progress->gradient_norm);
  };
  out.update_buffers = [this, stream] {
    for (const TransformerLayer* layer : chunk_->moe_layers()) layer->moe().router().end_step(stream, *store_);
  };
  out.update_weights = [this, &request, progress] { update(request, progress); };
  return out;
}

void Engine::finalize(const StepRequest& request, const Progress& progress) {
  const double scale = options_.model.calculate_per_token_loss ? 1.0 / std::max(progress.valid_tokens, 1.0) : 1.0;
  store_->finalize_gradients(device_.default_stream(), scale);
  if (request.on_gradients) request.on_gradients();
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
  for (const TransformerLayer* layer : chunk_->moe_layers()) {
    const Router& router = layer->moe().router();
    summary.layers.push_back({layer->index(), router.statistics().read(stream)});
    router.reset_statistics(stream);
  }
  return summary;
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
  const DeviceBatch on_device = upload(batch, 0.0);
  const Tensor losses = executor_->evaluate(on_device);
  const Tensor sums = Tensor::empty(device_, {2}, DType::kF64, {MemoryCategory::kWorkspace, "loss sums"});
  kernels::fill(stream, {.x = sums, .value = 0});
  kernels::masked_sum(stream, {.values = losses, .mask = on_device.targets.mask, .out = sums});
  return {to_host<double>(stream, sums)[0], valid_tokens(batch)};
}

Context Engine::inference_context(const BatchInfo& batch, KvCache* cache) {
  return Context{.stream = device_.default_stream(),
                 .store = *store_,
                 .weight_gradients = no_gradients_,
                 .save_policy = *save_policy_,
                 .batch = batch,
                 .seed = static_cast<uint64_t>(options_.training.seed),
                 .cache = cache};
}

void Engine::layer_pass(const DeviceBatch& batch, bool backward) {
  Context context = inference_context(batch.info, nullptr);
  context.training = backward;
  context.with_gradient = backward;
  LayerMessage message{context.empty({batch.info.sequence_length, batch.info.batch, spec_.hidden}, "bench")};
  kernels::fill(context.stream, {.x = message.hidden, .value = 0.5});
  std::vector<LayerState> states(chunk_->layers().size());
  for (size_t i = 0; i < states.size(); ++i) message = chunk_->layers()[i]->forward(context, message, &states[i]);
  if (!backward) return;
  kernels::fill(context.stream, {.x = message.hidden, .value = 1});
  for (size_t i = states.size(); i-- > 0;) message = chunk_->layers()[i]->backward(context, message, &states[i]);
}

}  // namespace conclave
