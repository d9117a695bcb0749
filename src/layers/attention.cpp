#include "layers/attention.h"

#include "kernels/cache.h"
#include "kernels/qkv.h"
#include "kernels/rope.h"

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
                          .init = config.output_init}) {
  if (config.qk_norm) {
    q_norm_ = std::make_unique<Norm>(store, config.name + ".q_layernorm", *config.qk_norm, config.head_dim,
                                     config.qk_norm_decay);
    k_norm_ = std::make_unique<Norm>(store, config.name + ".k_layernorm", *config.qk_norm, config.head_dim,
                                     config.qk_norm_decay);
  }
  if (config.rope) {
    const auto count = static_cast<int64_t>(config.rope->frequencies.size());
    frequencies_ =
        from_host<float>(device, {count}, config.rope->frequencies, {MemoryCategory::kWorkspace, "rope.frequencies"});
  }
}

void Attention::rotate(const Context& context, const Tensor& x, bool inverse) const {
  if (!config_.rope) return;
  kernels::rope(context.stream, {.x = x,
                                 .positions = context.batch.positions,
                                 .frequencies = frequencies_,
                                 .interleaved = config_.rope->interleaved,
                                 .inverse = inverse});
}

kernels::AttentionMask Attention::mask(const Context& context) const {
  return {.causal = true, .window = config_.window, .document_starts = context.batch.document_starts};
}

kernels::AttentionDropout Attention::dropout(const Context& context) const {
  if (!context.training || config_.dropout == 0) return {};
  return {.rate = static_cast<float>(config_.dropout), .streams = context.random_streams(config_.name + ".dropout")};
}

Tensor Attention::core(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v, Tensor* lse) const {
  const int64_t batch = q.size(0), sequence = q.size(2);
  const Tensor out = context.empty({sequence, batch, config_.heads * config_.head_dim}, "core_attn.out");
  if (lse != nullptr) *lse = context.empty({batch, config_.heads, sequence}, DType::kF32, "core_attn.lse");
  kernels::attention_forward(context.stream, {.q = q,
                                              .k = k,
                                              .v = v,
                                              .out = out,
                                              .lse = lse != nullptr ? *lse : Tensor(),
                                              .mask = mask(context),
                                              .dropout = dropout(context),
                                              .scale = static_cast<float>(config_.softmax_scale)});
  context.observe(config_.name + ".core_attention", out);
  return out;
}

Tensor Attention::core_from_cache(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v) const {
  LayerKvCache& cache = context.cache->layer(config_.layer);
  const int64_t batch = q.size(0), sequence = q.size(2), capacity = context.cache->capacity();
  if (!cache.k.defined()) {
    cache.k = context.empty({batch, config_.groups, capacity, config_.head_dim}, "cache.k");
    cache.v = context.empty({batch, config_.groups, capacity, config_.head_dim}, "cache.v");
  }
  const int64_t before = context.cache->length();
  kernels::append_to_cache(context.stream, {.x = k, .cache = cache.k, .position = before});
  kernels::append_to_cache(context.stream, {.x = v, .cache = cache.v, .position = before});
  const Tensor out = context.empty({sequence, batch, config_.heads * config_.head_dim}, "core_attn.out");
  kernels::attention_forward(context.stream, {.q = q,
                                              .k = cache.k,
                                              .v = cache.v,
                                              .out = out,
                                              .key_count = before + sequence,
                                              .lse = {},
                                              .mask = {.causal = true, .window = config_.window, .document_starts = {}},
                                              .dropout = {},
                                              .scale = static_cast<float>(config_.softmax_scale)});
  return out;
}

Tensor Attention::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                          AttentionSaved* saved) const {
  const int64_t sequence = x.size(0), batch = x.size(1);
  Tensor q = context.empty({batch, config_.heads, sequence, config_.head_dim}, "attention.q");
  Tensor k = context.empty({batch, config_.groups, sequence, config_.head_dim}, "attention.k");
  const Tensor v = context.empty({batch, config_.groups, sequence, config_.head_dim}, "attention.v");
  {
    const Tensor fused = qkv_.forward(context, x);
    kernels::split_qkv(context.stream, {.fused = fused, .q = q, .k = k, .v = v});
  }
  if (q_norm_) {
    q = q_norm_->forward(context, context.keep(q), q, &saved->q_norm);
    k = k_norm_->forward(context, context.keep(k), k, &saved->k_norm);
  }
  rotate(context, q, false);
  rotate(context, k, false);
  if (context.cache != nullptr) return projection_.forward(context, core_from_cache(context, q, k, v));

  if (!context.with_gradient) return projection_.forward(context, core(context, q, k, v, nullptr));
  auto lse = std::make_shared<Tensor>();
  const Tensor out = core(context, q, k, v, lse.get());
  saved->input = x_saved;
  saved->q = q;
  saved->k = k;
  saved->v = v;
  saved->lse = lse;
  saved->out =
      context.save("core_attn", out, [this, again = context, q, k, v, lse] { return core(again, q, k, v, lse.get()); });
  const Tensor y = projection_.forward(context, out);
  if (context.save_policy.action("core_attn") == SaveAction::kRecompute) *lse = Tensor();
  return y;
}

Tensor Attention::backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const {
  const Tensor dout = projection_.backward(context, dy, saved.out);
  const Tensor& out = saved.out.get();  // also brings lse back
  Tensor dq = context.empty(saved.q.shape(), "attention.dq");
  Tensor dk = context.empty(saved.k.shape(), "attention.dk");
  const Tensor dv = context.empty(saved.v.shape(), "attention.dv");
  kernels::attention_backward(context.stream, {.dout = dout,
                                               .q = saved.q,
                                               .k = saved.k,
                                               .v = saved.v,
                                               .out = out,
                                               .lse = *saved.lse,
                                               .dq = dq,
                                               .dk = dk,
                                               .dv = dv,
                                               .mask = mask(context),
                                               .dropout = dropout(context),
                                               .scale = static_cast<float>(config_.softmax_scale)});
  rotate(context, dq, true);
  rotate(context, dk, true);
  if (q_norm_) {
    dq = q_norm_->backward(context, dq, saved.q_norm);
    dk = k_norm_->backward(context, dk, saved.k_norm);
  }
  const int64_t sequence = dy.size(0), batch = dy.size(1);
  const Tensor dfused =
      context.empty({sequence, batch, (config_.heads + 2 * config_.groups) * config_.head_dim}, "attention.dqkv");
  kernels::merge_qkv(context.stream, {.q = dq, .k = dk, .v = dv, .fused = dfused});
  return qkv_.backward(context, dfused, saved.input);
}

}  // namespace conclave
