#include "layers/latent_attention.h"

#include "kernels/cache.h"
#include "kernels/columns.h"
#include "kernels/latent_heads.h"
#include "layers/tensor_region.h"

namespace conclave {
namespace {

constexpr const char* kUpProjection = "mla_up_proj";

// This rank's rows of a projection to all heads, `width` rows each.
std::vector<OutputRows> head_rows(const LatentAttentionConfig& config, int64_t width) {
  if (config.tensor.is_whole()) return {};
  const int64_t share = config.tensor.share(config.heads);
  return {{share * config.tensor.rank * width, share * width}};
}

}  // namespace

LatentAttention::LatentAttention(ParameterStore& store, Device& device, const LatentAttentionConfig& config)
    : config_(config),
      heads_(config.tensor.share(config.heads)),
      kv_down_(store, {.name = config.name + ".linear_kv_down_proj",
                       .in = config.hidden,
                       .out = config.kv_rank + config.rotated,
                       .bias = config.down_bias,
                       .init = config.init,
                       .replicas = config.tensor,
                       .partial = config.sequence_parallel}),
      kv_up_(store, {.name = config.name + ".linear_kv_up_proj",
                     .in = config.kv_rank,
                     .out = config.heads * (config.plain + config.value),
                     .init = config.init,
                     .rows = head_rows(config, config.plain + config.value)}),
      projection_(store, {.name = config.name + ".linear_proj",
                          .in = config.heads * config.value,
                          .out = config.hidden,
                          .bias = config.projection_bias,
                          .init = config.output_init,
                          .input = config.tensor}),
      rotation_(device, config.rope),
      core_(store, device,
            {.name = config.name,
             .heads = heads_,
             .first_head = heads_ * config.tensor.rank,
             .all_heads = config.heads,
             .value_dim = config.value,
             .window = config.window,
             .softmax_scale = config.softmax_scale,
             .dropout = config.dropout,
             .sink = config.sink,
             .sink_init = config.sink_init,
             .context_exchange = config.context_exchange}) {
  const int64_t width = config.heads * (config.plain + config.rotated);
  const auto to_heads = [&](const char* name, int64_t in) {
    return std::make_unique<Linear>(store, Linear::Config{.name = config.name + name,
                                                          .in = in,
                                                          .out = width,
                                                          .bias = false,
                                                          .init = config.init,
                                                          .rows = head_rows(config, width / config.heads)});
  };
  if (config.q_rank == 0) {
    q_ = to_heads(".linear_q_proj", config.hidden);
  } else {
    q_down_ = std::make_unique<Linear>(store, Linear::Config{.name = config.name + ".linear_q_down_proj",
                                                             .in = config.hidden,
                                                             .out = config.q_rank,
                                                             .bias = config.down_bias,
                                                             .init = config.init,
                                                             .replicas = config.tensor,
                                                             .partial = config.sequence_parallel});
    q_up_ = to_heads(".linear_q_up_proj", config.q_rank);
  }
  if (!config.latent_norm) return;
  if (config.q_rank > 0)
    q_norm_ = std::make_unique<Norm>(store, config.name + ".q_layernorm", *config.latent_norm, config.q_rank,
                                     config.norm_decay);
  kv_norm_ = std::make_unique<Norm>(store, config.name + ".kv_layernorm", *config.latent_norm, config.kv_rank,
                                    config.norm_decay);
}

Tensor LatentAttention::query_latent(const Context& context, const Tensor& x, AttentionSaved* saved) const {
  const Tensor latent = q_down_->forward(context, x);
  return q_norm_ ? q_norm_->forward(context, context.keep(latent), latent, &saved->q_norm) : latent;
}

Tensor LatentAttention::queries(const Context& context, const Tensor& from) const {
  const Tensor whole = enter_tensor_region(context, from, "attention.q_latent");
  const Tensor fused = (q_ ? q_ : q_up_)->forward(context, whole);
  const Tensor q =
      context.empty({whole.size(1), heads_, whole.size(0), config_.rotated + config_.plain}, "attention.q");
  kernels::split_latent_query(context.stream, {.fused = fused, .q = q, .rotated = config_.rotated});
  rotation_.turn(context, q, false);
  return q;
}

AttentionHeads LatentAttention::keys(const Context& context, const Tensor& latent, const Tensor& shared) const {
  const Tensor whole = enter_tensor_region(context, latent, "attention.kv_latent");
  const Tensor whole_shared = enter_tensor_region(context, shared, "attention.shared_key");
  const int64_t sequence = whole.size(0), batch = whole.size(1);
  const Tensor up = kv_up_.forward(context, whole);
  AttentionHeads heads;
  heads.k = context.empty({batch, heads_, sequence, config_.rotated + config_.plain}, "attention.k");
  heads.v = context.empty({batch, heads_, sequence, config_.value}, "attention.v");
  kernels::join_latent_keys(context.stream, {.up = up, .shared = whole_shared, .k = heads.k, .v = heads.v});
  return heads;
}

void LatentAttention::save_heads(const Context& context, const AttentionHeads& heads, AttentionSaved* saved) const {
  if (!context.with_gradient) return;
  Context again = context;
  again.pass = Pass::kAgain;
  saved->core.v = std::make_shared<Tensor>(heads.v);
  saved->core.q = context.save(kUpProjection, heads.q,
                               [this, again, from = saved->q_latent] { return queries(again, from.get()); });
  saved->core.k = context.save(
      kUpProjection, heads.k, [this, again, latent = saved->key_latent, shared = saved->shared_key, v = saved->core.v] {
        const AttentionHeads made = keys(again, latent.get(), shared.get());
        rotation_.turn(again, made.k, false);
        *v = made.v;
        return made.k;
      });
}

Tensor LatentAttention::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                                AttentionSaved* saved) const {
  const int64_t sequence = x.size(0), batch = x.size(1);
  const Tensor q_from = q_ ? x : query_latent(context, x, saved);
  Tensor latent = context.empty({sequence, batch, config_.kv_rank}, "attention.kv_latent");
  const Tensor shared = context.empty({sequence, batch, config_.rotated}, "attention.shared_key");
  {
    const Tensor down = kv_down_.forward(context, x);
    kernels::split_columns(context.stream,
                           {.x = down.as_matrix(), .left = latent.as_matrix(), .right = shared.as_matrix()});
  }
  if (kv_norm_) latent = kv_norm_->forward(context, context.keep(latent), latent, &saved->k_norm);
  AttentionHeads heads;
  const auto project = [&](const Tensor& out) {
    return leave_tensor_region(context, projection_.forward(context, out), "attention.output");
  };
  if (context.cache != nullptr) return project(from_cache(context, queries(context, q_from), latent, shared));
  heads = keys(context, latent, shared);
  rotation_.turn(context, heads.k, false);
  heads.q = queries(context, q_from);
  if (context.with_gradient) {
    saved->input = x_saved;
    saved->q_latent = q_ ? x_saved : context.keep(q_from);
    saved->key_latent = context.keep(latent);
    saved->shared_key = context.keep(shared);
  }
  save_heads(context, heads, saved);
  const Tensor out = core_.forward(context, heads, &saved->core);
  if (context.with_gradient && context.save_policy.action(kUpProjection) == SaveAction::kRecompute)
    *saved->core.v = Tensor();
  return project(out);
}

// The cache holds the latent (as k) and the rotated shared key (as v); heads are made from them for every call.
Tensor LatentAttention::from_cache(const Context& context, const Tensor& q, const Tensor& latent,
                                   const Tensor& shared) const {
  const int64_t sequence = latent.size(0), capacity = context.cache->capacity();
  CONCLAVE_CHECK(latent.size(1) == 1, "{}: generation runs one sequence at a time; got {}", config_.name,
                 latent.size(1));
  LayerKvCache& cache = context.cache->layer(config_.layer);
  if (!cache.k.defined()) {
    cache.k = context.empty({1, 1, capacity, config_.kv_rank}, "cache.latent");
    cache.v = context.empty({1, 1, capacity, config_.rotated}, "cache.shared_key");
  }
  const Tensor turned = shared.view({1, 1, sequence, config_.rotated});
  rotation_.turn(context, turned, false);
  const int64_t before = context.cache->length(), length = before + sequence;
  kernels::append_to_cache(context.stream,
                           {.x = latent.view({1, 1, sequence, config_.kv_rank}), .cache = cache.k, .position = before});
  kernels::append_to_cache(context.stream, {.x = turned, .cache = cache.v, .position = before});
  const auto filled = [&](const Tensor& whole, int64_t width) {
    return whole[0][0].slice(0, length).view({length, 1, width});
  };
  AttentionHeads heads = keys(context, filled(cache.k, config_.kv_rank), filled(cache.v, config_.rotated));
  heads.q = q;
  return core_.forward_over(context, heads, 0);
}

Tensor LatentAttention::query_backward(const Context& context, const Tensor& dq, const AttentionSaved& saved) const {
  rotation_.turn(context, dq, true);
  const Tensor dfused = context.empty({dq.size(2), dq.size(0), dq.size(1) * dq.size(3)}, "attention.dq_projection");
  kernels::merge_latent_query(context.stream, {.q = dq, .fused = dfused, .rotated = config_.rotated});
  const Linear& to_heads = q_ ? *q_ : *q_up_;
  const Tensor from = to_heads.backward(context, dfused, entered(context, saved.q_latent, "attention.q_latent"));
  Tensor dlatent = leave_tensor_region(context, from, "attention.dq_latent");
  if (q_) return dlatent;
  if (q_norm_) dlatent = q_norm_->backward(context, dlatent, saved.q_norm);
  return q_down_->backward(context, dlatent, saved.input);
}

Tensor LatentAttention::backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const {
  const Tensor dwhole = enter_tensor_region(context, dy, "attention.doutput");
  const int64_t sequence = dwhole.size(0), batch = dwhole.size(1);
  const Tensor dout = projection_.backward(context, dwhole, saved.core.out);
  const AttentionHeads gradient = core_.backward(context, dout, saved.core);
  rotation_.turn(context, gradient.k, true);
  const Tensor dup = context.empty({sequence, batch, heads_ * (config_.plain + config_.value)}, "attention.dkv_up");
  Tensor dshared = context.empty({sequence, batch, config_.rotated}, "attention.dshared_key");
  kernels::join_latent_keys_backward(context.stream,
                                     {.dk = gradient.k, .dv = gradient.v, .dup = dup, .dshared = dshared});
  dshared = leave_tensor_region(context, dshared, "attention.dshared_key");
  Tensor dlatent = kv_up_.backward(context, dup, entered(context, saved.key_latent, "attention.kv_latent"));
  dlatent = leave_tensor_region(context, dlatent, "attention.dkv_latent");
  if (kv_norm_) dlatent = kv_norm_->backward(context, dlatent, saved.k_norm);
  const Tensor ddown = context.empty({dlatent.size(0), batch, config_.kv_rank + config_.rotated}, "attention.dkv_down");
  kernels::join_columns(context.stream,
                        {.left = dlatent.as_matrix(), .right = dshared.as_matrix(), .x = ddown.as_matrix()});
  const Tensor dx = query_backward(context, gradient.q, saved);
  kv_down_.add_input_gradient(context, ddown, dx);
  kv_down_.enqueue_weight_gradient(context, ddown, saved.input);
  return dx;
}

}  // namespace conclave
