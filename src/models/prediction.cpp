#include "models/prediction.h"

#include "kernels/columns.h"
#include "models/layer_config.h"

namespace conclave {

PredictionDepth::PredictionDepth(ParameterStore& store, Device& device, const ModelSpec& spec, const ModelPart& part,
                                 int64_t depth, bool recompute)
    : name_(fmt::format("mtp.layers.{}", depth)),
      recompute_(recompute),
      token_norm_(store, name_ + ".enorm", norm_config(spec.norm, part), spec.hidden),
      hidden_norm_(store, name_ + ".hnorm", norm_config(spec.norm, part), spec.hidden),
      join_(store, {.name = name_ + ".eh_proj",
                    .in = 2 * spec.hidden,
                    .out = spec.hidden,
                    .bias = false,
                    .init = matrix_initializer(spec, 2 * spec.hidden, spec.hidden, spec.init_std),
                    .replicas = part.tensor,
                    .partial = part.sequence_parallel}),
      layer_(store, device, make_layer_config(spec, {.index = depth, .prediction = true}, part)),
      final_norm_(store, name_ + ".final_layernorm", norm_config(spec.norm, part), spec.hidden) {}

Tensor PredictionDepth::forward(const Context& context, const Embedding& embedding, const Tensor& tokens,
                                const SavedTensor& hidden, PredictionState* state) const {
  state->tokens = tokens;
  const Tensor embedded = embedding.forward(context, tokens);
  const Tensor& before = hidden.get();
  const Tensor joined = context.empty({before.size(0), before.size(1), 2 * before.size(2)}, "mtp.joined");
  {
    const Tensor left = token_norm_.forward(context, context.keep(embedded), embedded, &state->token_norm);
    const Tensor right = hidden_norm_.forward(context, hidden, before, &state->hidden_norm);
    kernels::join_columns(context.stream,
                          {.left = left.as_matrix(), .right = right.as_matrix(), .x = joined.as_matrix()});
  }
  state->joined = context.keep(joined);
  const Tensor x = join_.forward(context, joined);
  if (recompute_) state->layer_input = context.keep(x);
  const LayerMessage message = layer_.forward(context, {x}, &state->layer);
  if (recompute_ && context.with_gradient) layer_.discard(&state->layer);
  const Tensor out = final_norm_.forward(context, context.keep(message.hidden), message.hidden, &state->final_norm);
  state->out = context.keep(out);
  return out;
}

Tensor PredictionDepth::backward(const Context& context, const Embedding& embedding, const Tensor& dout,
                                 PredictionState* state) const {
  LayerMessage message{final_norm_.backward(context, dout, state->final_norm)};
  if (recompute_) {
    Context again = context;
    again.pass = Pass::kAgain;
    layer_.forward(again, {state->layer_input.get()}, &state->layer);
  }
  message = layer_.backward(context, message, &state->layer);
  const Tensor djoined = join_.backward(context, message.hidden, state->joined);
  const Tensor dleft = context.empty(message.hidden.shape(), "mtp.dtoken");
  const Tensor dright = context.empty(message.hidden.shape(), "mtp.dhidden");
  kernels::split_columns(context.stream,
                         {.x = djoined.as_matrix(), .left = dleft.as_matrix(), .right = dright.as_matrix()});
  const Tensor dembedded = token_norm_.backward(context, dleft, state->token_norm);
  embedding.backward(context, dembedded, state->tokens, EmbeddingUse::kPrediction);
  const Tensor dhidden = hidden_norm_.backward(context, dright, state->hidden_norm);
  *state = PredictionState();
  return dhidden;
}

}  // namespace conclave
