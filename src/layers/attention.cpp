#include "layers/attention.h"

#include "kernels/cache.h"
#include "kernels/qkv.h"

namespace conclave {

Attention::Attention(ParameterStore& store, Device& device, const AttentionConfig& config)
    : config_(config),
      qkv_(store, {.name = config.name + ".linear_qkv",
                   .in = config.hidden,
                   .out = (config.heads + 2 * config.groups) * config.head_dim,
                   .bias = config.qkv_bias,
                   .init = config.init}),
      projection_(store, {.name = config.name + ".linear_proj",
                          .in = config.heads * config.head_dim,
                          .out = config.hidden,
                          .bias = config.projection_bias,
                          .init = config.output_init}),
      core_({.name = config.name,
             .heads = config.heads,
             .value_dim = config.head_dim,
             .window = config.window,
             .softmax_scale = config.softmax_scale,
             .dropout = config.dropout}) {
  if (config.qk_norm) {
    q_norm_ = std::make_unique<Norm>(store, config.name + ".q_layernorm", *config.qk_norm, config.head_dim,
                                     config.qk_norm_decay);
    k_norm_ = std::make_unique<Norm>(store, config.name + ".k_layernorm", *config.qk_norm, config.head_dim,
                                     config.qk_norm_decay);
  }
  if (config.rope) rotation_ = std::make_unique<Rotation>(device, *config.rope);
}

Tensor Attention::from_cache(const Context& context, const AttentionHeads& heads) const {
  LayerKvCache& cache = context.cache->layer(config_.layer);
  const int64_t batch = heads.q.size(0), sequence = heads.q.size(2), capacity = context.cache->capacity();
  if (!cache.k.defined()) {
    cache.k = context.empty({batch, config_.groups, capacity, config_.head_dim}, "cache.k");
    cache.v = context.empty({batch, config_.groups, capacity, config_.head_dim}, "cache.v");
  }
  const int64_t before = context.cache->length();
  kernels::append_to_cache(context.stream, {.x = heads.k, .cache = cache.k, .position = before});
  kernels::append_to_cache(context.stream, {.x = heads.v, .cache = cache.v, .position = before});
  return core_.forward_over(context, {heads.q, cache.k, cache.v}, before + sequence);
}

Tensor Attention::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                          AttentionSaved* saved) const {
  const int64_t sequence = x.size(0), batch = x.size(1);
  AttentionHeads heads;
  heads.q = context.empty({batch, config_.heads, sequence, config_.head_dim}, "attention.q");
  heads.k = context.empty({batch, config_.groups, sequence, config_.head_dim}, "attention.k");
  heads.v = context.empty({batch, config_.groups, sequence, config_.head_dim}, "attention.v");
  {
    const Tensor fused = qkv_.forward(context, x);
    kernels::split_qkv(context.stream, {.fused = fused, .q = heads.q, .k = heads.k, .v = heads.v});
  }
  if (q_norm_) {
    heads.q = q_norm_->forward(context, context.keep(heads.q), heads.q, &saved->q_norm);
    heads.k = k_norm_->forward(context, context.keep(heads.k), heads.k, &saved->k_norm);
  }
  if (rotation_) {
    rotation_->turn(context, heads.q, false);
    rotation_->turn(context, heads.k, false);
  }
  if (context.cache != nullptr) return projection_.forward(context, from_cache(context, heads));
  if (context.with_gradient) saved->input = x_saved;
  AttentionCore::keep_heads(context, heads, &saved->core);
  return projection_.forward(context, core_.forward(context, heads, &saved->core));
}

Tensor Attention::backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const {
  const Tensor dout = projection_.backward(context, dy, saved.core.out);
  AttentionHeads gradient = core_.backward(context, dout, saved.core);
  if (rotation_) {
    rotation_->turn(context, gradient.q, true);
    rotation_->turn(context, gradient.k, true);
  }
  if (q_norm_) {
    gradient.q = q_norm_->backward(context, gradient.q, saved.q_norm);
    gradient.k = k_norm_->backward(context, gradient.k, saved.k_norm);
  }
  const int64_t sequence = dy.size(0), batch = dy.size(1);
  const Tensor dfused =
      context.empty({sequence, batch, (config_.heads + 2 * config_.groups) * config_.head_dim}, "attention.dqkv");
  kernels::merge_qkv(context.stream, {.q = gradient.q, .k = gradient.k, .v = gradient.v, .fused = dfused});
  return qkv_.backward(context, dfused, saved.input);
}

}  // namespace conclave
