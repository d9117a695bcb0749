#include "layers/attention.h"

#include "kernels/cache.h"
#include "kernels/qkv.h"
#include "layers/tensor_region.h"

namespace conclave {

HeadShare head_share(int64_t heads, int64_t groups, const Slice& tensor) {
  CONCLAVE_CHECK(heads % tensor.size == 0, "{} heads over {} ranks of TP", heads, tensor.size);
  HeadShare share{.heads = heads / tensor.size, .first_head = heads / tensor.size * tensor.rank};
  if (groups >= tensor.size) {
    CONCLAVE_CHECK(groups % tensor.size == 0, "{} key/value heads over {} ranks of TP", groups, tensor.size);
    share.groups = groups / tensor.size;
    share.first_group = share.groups * tensor.rank;
    return share;
  }
  CONCLAVE_CHECK(tensor.size % groups == 0, "{} key/value heads over {} ranks of TP", groups, tensor.size);
  share.groups = 1;
  share.copies = tensor.size / groups;
  share.first_group = tensor.rank / share.copies;
  return share;
}

namespace {

// Rows of the fused projection: for each key/value head its query heads, the key and the value (kernels/qkv.h).
std::vector<OutputRows> qkv_rows(const AttentionConfig& config) {
  if (config.tensor.is_whole()) return {};
  const HeadShare share = head_share(config.heads, config.groups, config.tensor);
  const int64_t per_group = config.heads / config.groups, block = (per_group + 2) * config.head_dim;
  const int64_t first = share.first_group * block;
  if (share.copies == 1) return {{first, share.groups * block}};
  const int64_t queries = first + (share.first_head - share.first_group * per_group) * config.head_dim;
  const bool replica = config.tensor.rank % share.copies != 0;
  return {{queries, share.heads * config.head_dim},
          {first + per_group * config.head_dim, config.head_dim, replica},
          {first + (per_group + 1) * config.head_dim, config.head_dim, replica}};
}

}  // namespace

Attention::Attention(ParameterStore& store, Device& device, const AttentionConfig& config)
    : config_(config),
      share_(head_share(config.heads, config.groups, config.tensor)),
      qkv_(store, {.name = config.name + ".linear_qkv",
                   .in = config.hidden,
                   .out = (config.heads + 2 * config.groups) * config.head_dim,
                   .bias = config.qkv_bias,
                   .init = config.init,
                   .rows = qkv_rows(config)}),
      projection_(store, {.name = config.name + ".linear_proj",
                          .in = config.heads * config.head_dim,
                          .out = config.hidden,
                          .bias = config.projection_bias,
                          .init = config.output_init,
                          .input = config.tensor}),
      core_(store, device,
            {.name = config.name,
             .heads = share_.heads,
             .first_head = share_.first_head,
             .all_heads = config.heads,
             .value_dim = config.head_dim,
             .window = config.window,
             .softmax_scale = config.softmax_scale,
             .dropout = config.dropout,
             .sink = config.sink,
             .sink_init = config.sink_init,
             .context_exchange = config.context_exchange}) {
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
    cache.k = context.empty({batch, share_.groups, capacity, config_.head_dim}, "cache.k");
    cache.v = context.empty({batch, share_.groups, capacity, config_.head_dim}, "cache.v");
  }
  const int64_t before = context.cache->length();
  kernels::append_to_cache(context.stream, {.x = heads.k, .cache = cache.k, .position = before});
  kernels::append_to_cache(context.stream, {.x = heads.v, .cache = cache.v, .position = before});
  return core_.forward_over(context, {heads.q, cache.k, cache.v}, before + sequence);
}

Tensor Attention::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                          AttentionSaved* saved) const {
  const Tensor whole = enter_tensor_region(context, x, "attention.input");
  const int64_t sequence = whole.size(0), batch = whole.size(1);
  AttentionHeads heads;
  heads.q = context.empty({batch, share_.heads, sequence, config_.head_dim}, "attention.q");
  heads.k = context.empty({batch, share_.groups, sequence, config_.head_dim}, "attention.k");
  heads.v = context.empty({batch, share_.groups, sequence, config_.head_dim}, "attention.v");
  {
    const Tensor fused = qkv_.forward(context, whole);
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
  const auto project = [&](const Tensor& out) {
    return leave_tensor_region(context, projection_.forward(context, out), "attention.output");
  };
  if (context.cache != nullptr) return project(from_cache(context, heads));
  if (context.with_gradient) saved->input = x_saved;
  AttentionCore::keep_heads(context, heads, &saved->core);
  return project(core_.forward(context, heads, &saved->core));
}

Tensor Attention::backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const {
  const Tensor dwhole = enter_tensor_region(context, dy, "attention.doutput");
  const Tensor dout = projection_.backward(context, dwhole, saved.core.out);
  AttentionHeads gradient = core_.backward(context, dout, saved.core);
  if (rotation_) {
    rotation_->turn(context, gradient.q, true);
    rotation_->turn(context, gradient.k, true);
  }
  if (q_norm_) {
    gradient.q = q_norm_->backward(context, gradient.q, saved.q_norm);
    gradient.k = k_norm_->backward(context, gradient.k, saved.k_norm);
  }
  return leave_tensor_region(context, qkv_backward(context, gradient, saved.input), "attention.dinput");
}

Tensor Attention::merged(const Context& context, const AttentionHeads& gradient) const {
  const int64_t sequence = gradient.q.size(2), batch = gradient.q.size(0);
  const Tensor fused =
      context.empty({sequence, batch, (share_.heads + 2 * share_.groups) * config_.head_dim}, "attention.dqkv");
  kernels::merge_qkv(context.stream, {.q = gradient.q, .k = gradient.k, .v = gradient.v, .fused = fused});
  return fused;
}

Tensor Attention::qkv_backward(const Context& context, const AttentionHeads& gradient, const SavedTensor& input) const {
  const SavedTensor whole = entered(context, input, "attention.input");
  const Tensor dfused = merged(context, gradient);
  if (share_.copies == 1) return qkv_.backward(context, dfused, whole);
  // Each rank's query heads give a part of the gradient at a shared key or value. The parts are summed for the weights,
  // so that all holders make the same gradient; the input's gradient is a sum over ranks anyhow.
  const Tensor dx = qkv_.input_gradient(context, dfused);
  ProcessGroups& groups = *context.groups;
  const std::vector<int64_t> tensor_ranks =
      groups.layout().group(GroupKind::kTensor, groups.layout().place(GroupKind::kTensor, groups.rank())->index);
  const int64_t first = config_.tensor.rank / share_.copies * share_.copies;
  Communicator& holders = groups.custom(fmt::format("tp-kv-{}", share_.copies),
                                        {tensor_ranks.begin() + first, tensor_ranks.begin() + first + share_.copies});
  holders.all_reduce(context.stream, gradient.k, ReduceOp::kSum, "attention.dk");
  holders.all_reduce(context.stream, gradient.v, ReduceOp::kSum, "attention.dv");
  qkv_.enqueue_weight_gradient(context, merged(context, gradient), whole);
  return dx;
}

}  // namespace conclave
