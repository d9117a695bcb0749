#include "models/transformer_layer.h"

#include <utility>

#include "layers/position_dropout.h"

namespace conclave {
namespace {

constexpr const char* kAfterAttention = ".self_attention.hidden_dropout";
constexpr const char* kAfterFfn = ".mlp.hidden_dropout";

std::unique_ptr<SelfAttention> make_attention(ParameterStore& store, Device& device,
                                              const TransformerLayerConfig& config) {
  if (config.latent_attention) return std::make_unique<LatentAttention>(store, device, *config.latent_attention);
  return std::make_unique<Attention>(store, device, *config.attention);
}

}  // namespace

TransformerLayer::TransformerLayer(ParameterStore& store, Device& device, const TransformerLayerConfig& config)
    : index_(config.index),
      hidden_dropout_(config.hidden_dropout),
      name_(config.name),
      input_norm_(store, name_ + ".input_layernorm", config.norm, config.hidden),
      attention_(make_attention(store, device, config)),
      ffn_norm_(store, name_ + ".pre_mlp_layernorm", config.norm, config.hidden) {
  if (config.moe) {
    moe_ = std::make_unique<MoeLayer>(store, device, *config.moe);
  } else {
    mlp_ = std::make_unique<Mlp>(store, *config.mlp);
  }
}

Tensor TransformerLayer::add_dropped(const Context& context, const Tensor& x, const Tensor& residual,
                                     const char* place) const {
  const Tensor out = context.empty(x.shape(), "layer.hidden");
  position_dropout_add(context, x, residual, out, hidden_dropout_, name_ + place);
  return out;
}

Tensor TransformerLayer::dropped_gradient(const Context& context, const Tensor& dy, const char* place) const {
  if (!context.training || hidden_dropout_ == 0) return dy;
  return add_dropped(context, dy, {}, place);
}

bool TransformerLayer::reruns_ffn(const Context& context) const {
  return context.with_gradient && context.save_policy.reruns(moe_ ? "moe" : "mlp");
}

void TransformerLayer::attention_and_route(const Context& context, const LayerMessage& in, LayerState* state) const {
  const Tensor& x = in.hidden;
  state->input = context.keep(x);
  const Tensor normed = input_norm_.forward(context, state->input, x, &state->input_norm);
  state->attention_input = context.save("layernorm", normed, [this, again = context, input = state->input] {
    return input_norm_.again(again, input.get());
  });
  const Tensor attended = attention_->forward(context, state->attention_input, normed, &state->attention);
  state->middle_value = add_dropped(context, attended, x, kAfterAttention);
  state->middle = context.keep(state->middle_value);
  state->ffn_value = ffn_norm_.forward(context, state->middle, state->middle_value, &state->ffn_norm);
  state->ffn_input = context.save("layernorm", state->ffn_value, [this, again = context, middle = state->middle] {
    return ffn_norm_.again(again, middle.get());
  });
  if (moe_) moe_->route(context, state->ffn_input, state->ffn_value, &state->moe);
}

void TransformerLayer::dispatch(const Context& context, LayerState* state) const {
  if (moe_) moe_->dispatch(context, state->ffn_input, state->ffn_value, &state->moe);
}

void TransformerLayer::experts(const Context& context, LayerState* state) const {
  if (moe_) {
    moe_->run_experts(context, &state->moe);
    state->ffn_value = Tensor();
  } else {
    state->ffn_value = mlp_->forward(context, state->ffn_input, state->ffn_value, &state->mlp);
  }
}

LayerMessage TransformerLayer::combine(const Context& context, LayerState* state) const {
  const Tensor out = moe_ ? moe_->combine(context, state->middle_value.shape(), &state->moe)
                          : std::exchange(state->ffn_value, Tensor());
  LayerMessage message{add_dropped(context, out, state->middle_value, kAfterFfn)};
  state->middle_value = Tensor();
  context.observe(name_, message.hidden);
  if (reruns_ffn(context) && context.pass == Pass::kPlain) {
    state->mlp = {};
    state->moe.discard();
    state->needs_ffn_again = true;
  }
  return message;
}

void TransformerLayer::discard(LayerState* state) const {
  MoeSaved routed = std::move(state->moe);
  *state = LayerState();
  routed.discard();
  state->moe = std::move(routed);
}

void TransformerLayer::run_ffn_again(const Context& context, LayerState* state) const {
  state->needs_ffn_again = false;
  Context again = context;
  again.pass = Pass::kAgain;
  const Tensor x = state->ffn_input.get();
  if (moe_) {
    moe_->route(again, state->ffn_input, x, &state->moe);
    moe_->dispatch(again, state->ffn_input, x, &state->moe);
    moe_->run_experts(again, &state->moe);
    state->moe.drop_forward_results();
  } else {
    mlp_->forward(again, state->ffn_input, x, &state->mlp);
  }
}

void TransformerLayer::combine_backward(const Context& context, const LayerMessage& dout, LayerState* state) const {
  if (state->needs_ffn_again) run_ffn_again(context, state);
  state->dffn_out = dout.hidden;
  const Tensor dy = dropped_gradient(context, dout.hidden, kAfterFfn);
  if (moe_) {
    moe_->combine_backward(context, dy, &state->moe);
  } else {
    state->dffn_input = mlp_->backward(context, dy, state->mlp);
    state->mlp = {};
  }
}

void TransformerLayer::experts_backward(const Context& context, LayerState* state) const {
  if (moe_) moe_->experts_backward(context, &state->moe);
}

void TransformerLayer::dispatch_backward(const Context& context, LayerState* state) const {
  if (moe_) state->dffn_input = moe_->dispatch_backward(context, state->dffn_out.shape(), &state->moe, &state->dprobs);
}

LayerMessage TransformerLayer::attention_and_route_backward(const Context& context, LayerState* state) const {
  if (moe_) moe_->route_backward(context, state->dprobs, state->dffn_input, &state->moe);
  const Tensor dmiddle = ffn_norm_.backward(context, state->dffn_input, state->ffn_norm, state->dffn_out);
  const Tensor dattention =
      attention_->backward(context, dropped_gradient(context, dmiddle, kAfterAttention), state->attention);
  LayerMessage din{input_norm_.backward(context, dattention, state->input_norm, dmiddle)};
  context.observe(name_ + ".grad", din.hidden);
  *state = LayerState();
  return din;
}

LayerMessage TransformerLayer::forward(const Context& context, const LayerMessage& in, LayerState* state) const {
  attention_and_route(context, in, state);
  dispatch(context, state);
  experts(context, state);
  return combine(context, state);
}

LayerMessage TransformerLayer::backward(const Context& context, const LayerMessage& dout, LayerState* state) const {
  combine_backward(context, dout, state);
  experts_backward(context, state);
  dispatch_backward(context, state);
  return attention_and_route_backward(context, state);
}

}  // namespace conclave
