#include "models/gpt.h"

#include <optional>

#include "kernels/elementwise.h"
#include "models/layer_config.h"

namespace conclave {
namespace {

// target += x, if there is an x.
void add_to(const Context& context, const Tensor& x, const Tensor& target) {
  if (x.defined()) kernels::scale(context.stream, {.x = x, .y = target, .accumulate = kernels::Accumulate::kAdd});
}

// Of a chunk that reads the token table.
std::optional<EmbeddingConfig> embedding_config(const ModelSpec& spec, const ChunkRange& range, const Slice& tensor) {
  const bool predicts = !spec.predictions.empty();
  const bool read_at_the_end = spec.tied_embeddings || predicts;
  if (!range.embedding && !(range.output && read_at_the_end)) return std::nullopt;
  EmbeddingConfig config{.vocab = spec.vocab,
                         .hidden = spec.hidden,
                         .dropout = spec.hidden_dropout,
                         .tied = spec.tied_embeddings && range.output,
                         .predicts = predicts && range.output,
                         .init = Initializer::normal(spec.embedding_init_std),
                         .tensor = tensor};
  if (range.embedding && spec.positions == PositionKind::kLearned) config.max_positions = spec.max_positions;
  if (read_at_the_end && range.embedding != range.output)
    config.copy = range.embedding ? TableCopy::kFirstStage : TableCopy::kLastStage;
  return config;
}

}  // namespace

GptChunk::GptChunk(ParameterStore& store, Device& device, const ModelSpec& spec, const ChunkRange& range,
                   const FullRecompute& recompute, const ModelPart& part)
    : spec_(spec), range_(range), groups_(group_layers(recompute, range.end - range.begin)) {
  const std::optional<EmbeddingConfig> embedding = embedding_config(spec, range, part.tensor);
  if (embedding) embedding_ = std::make_unique<Embedding>(store, *embedding);
  for (int64_t i = range.begin; i < range.end; ++i) {
    layers_.push_back(std::make_unique<TransformerLayer>(store, device, make_layer_config(spec, {i}, part)));
  }
  for (const auto& layer : layers_) {
    if (layer->is_moe()) moe_layers_.push_back(layer.get());
  }
  if (!range.output) return;
  final_norm_ = std::make_unique<Norm>(store, "decoder.final_layernorm", norm_config(spec.norm, part), spec.hidden);
  output_ = std::make_unique<OutputLoss>(
      store, OutputLoss::Config{.tied = spec.tied_embeddings ? embedding_.get() : nullptr,
                                .vocab = spec.vocab,
                                .hidden = spec.hidden,
                                .init = matrix_initializer(spec, spec.hidden, spec.vocab, spec.init_std),
                                .tensor = part.tensor});
  for (size_t depth = 0; depth < spec.predictions.size(); ++depth) {
    predictions_.push_back(std::make_unique<PredictionDepth>(store, device, spec, part, static_cast<int64_t>(depth),
                                                             recompute.method != FullRecompute::Method::kOff));
    if (predictions_.back()->layer().is_moe()) moe_layers_.push_back(&predictions_.back()->layer());
  }
}

LayerMessage GptChunk::forward_group(const Context& context, const LayerGroup& group, LayerMessage message,
                                     ChunkState* state) const {
  for (int64_t i = group.begin; i < group.end; ++i) {
    const auto index = static_cast<size_t>(i);
    message = layers_[index]->forward(context, message, &state->layers[index]);
    if (group.recompute && context.with_gradient && context.pass == Pass::kPlain)
      layers_[index]->discard(&state->layers[index]);
  }
  return message;
}

LayerMessage GptChunk::forward(const Context& context, const Tensor& tokens, const LayerMessage& in,
                               ChunkState* state) const {
  state->layers.resize(layers_.size());
  state->group_inputs.resize(groups_.size());
  LayerMessage message = in;
  if (range_.embedding) {
    state->tokens = tokens;
    message.hidden = embedding_->forward(context, tokens);
    context.observe("embedding", message.hidden);
  }
  for (size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].recompute) state->group_inputs[g] = context.keep(message.hidden);
    message = forward_group(context, groups_[g], std::move(message), state);
  }
  if (!final_norm_) return message;
  LayerMessage out{final_norm_->forward(context, context.keep(message.hidden), message.hidden, &state->final_norm)};
  state->final_hidden = context.keep(out.hidden);
  if (!context.with_gradient) return out;
  state->predictions.resize(predictions_.size());
  for (size_t depth = 0; depth < predictions_.size(); ++depth) {
    const SavedTensor& before = depth == 0 ? state->final_hidden : state->predictions[depth - 1].out;
    predictions_[depth]->forward(context, *embedding_, context.batch.shifted_tokens.at(depth), before,
                                 &state->predictions[depth]);
  }
  return out;
}

LossResult GptChunk::loss_and_gradient(const Context& context, ChunkState* state, const LossTargets& targets,
                                       std::span<const LossTargets> further) const {
  LossResult result = output_->train(context, state->final_hidden.get(), targets);
  result.prediction_losses.resize(predictions_.size());
  Tensor from_deeper;  // gradient that the next depth sends to its input
  for (size_t depth = predictions_.size(); depth-- > 0;) {
    PredictionState& prediction = state->predictions[depth];
    LossResult one = output_->train(context, prediction.out.get(), further[depth]);
    result.prediction_losses[depth] = one.token_loss;
    add_to(context, from_deeper, one.dhidden);
    from_deeper = predictions_[depth]->backward(context, *embedding_, one.dhidden, &prediction);
  }
  add_to(context, from_deeper, result.dhidden);
  return result;
}

LossResult GptChunk::loss(const Context& context, const LayerMessage& hidden, const LossTargets& targets) const {
  return output_->evaluate(context, hidden.hidden, targets);
}

LayerMessage GptChunk::backward(const Context& context, const LayerMessage& dout, ChunkState* state) const {
  LayerMessage message = dout;
  if (final_norm_) {
    message.hidden = final_norm_->backward(context, dout.hidden, state->final_norm);
    state->final_norm = {};
    state->final_hidden = {};
  }
  for (size_t g = groups_.size(); g-- > 0;) {
    const LayerGroup& group = groups_[g];
    if (group.recompute) {
      Context again = context;
      again.pass = Pass::kAgain;
      forward_group(again, group, {state->group_inputs[g].get()}, state);
      state->group_inputs[g] = {};
    }
    for (int64_t i = group.end; i-- > group.begin;) {
      const auto index = static_cast<size_t>(i);
      message = layers_[index]->backward(context, message, &state->layers[index]);
    }
  }
  if (!range_.embedding) return message;
  context.observe("embedding.grad", message.hidden);
  embedding_->backward(context, message.hidden, state->tokens);
  return {};
}

}  // namespace conclave
