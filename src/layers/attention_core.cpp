#include "layers/attention_core.h"

#include <optional>

#include "kernels/elementwise.h"
#include "layers/context_attention.h"

namespace conclave {

AttentionCore::AttentionCore(ParameterStore& store, Device& device, AttentionCoreConfig config)
    : config_(std::move(config)) {
  if (config_.sink == AttentionSink::kZero) {
    zeros_ = Tensor::empty(device, {config_.heads}, store.compute_dtype(),
                           {MemoryCategory::kWorkspace, "core_attn.softmax_offset"});
    kernels::fill(device.default_stream(), {.x = zeros_, .value = 0});
  }
  if (config_.sink != AttentionSink::kLearned) return;
  ParameterSpec spec;
  spec.name = config_.name + ".core_attention.softmax_offset";
  spec.shard = ShardSpec::intervals({config_.all_heads}, 0, {{config_.first_head, config_.heads}});
  spec.local_shape = {config_.heads};
  spec.init = config_.sink_init;
  spec.role = ParameterRole::kBias;
  spec.weight_decay = false;
  offset_ = store.declare(spec);
}

void AttentionCore::forward_pass(const Context& context, kernels::AttentionForwardArgs args) const {
  if (offset_ == nullptr) {
    args.sink = zeros_;
    return kernels::attention_forward(context.stream, args);
  }
  const Weight offset(context.store, *offset_);
  args.sink = offset.tensor();
  kernels::attention_forward(context.stream, args);
}

kernels::AttentionMask AttentionCore::mask(const Context& context, int64_t sequence) const {
  return {.causal = true,
          .window = config_.window,
          .document_starts = context.batch.document_starts,
          .place = kernels::AttentionPlace{.first_head = config_.first_head, .queries = sequence, .keys = sequence}};
}

kernels::AttentionDropout AttentionCore::dropout(const Context& context) const {
  if (!context.training || config_.dropout == 0) return {};
  return {.rate = static_cast<float>(config_.dropout), .streams = context.random_streams(config_.name + ".dropout")};
}

Tensor AttentionCore::run(const Context& context, const AttentionHeads& heads, std::vector<Tensor>* lse) const {
  if (!context.groups->part().context.is_whole()) {
    std::optional<Weight> offset;
    if (offset_ != nullptr) offset.emplace(context.store, *offset_);
    return ContextAttention(context, config_, {.score = offset ? offset->tensor() : zeros_}).forward(heads, lse);
  }
  const int64_t batch = heads.q.size(0), sequence = heads.q.size(2);
  const Tensor out = context.empty({sequence, batch, config_.heads * config_.value_dim}, "core_attn.out");
  const Shape rows{batch, config_.heads, sequence};
  if (lse != nullptr) *lse = {context.empty(rows, DType::kF32, "core_attn.lse")};
  const bool logits_wanted = context.observer != nullptr && context.observer->wants_attention_logits();
  const Tensor max_logit = logits_wanted ? context.empty(rows, DType::kF32, "core_attn.max_logit") : Tensor();
  forward_pass(context, {.q = heads.q,
                         .k = heads.k,
                         .v = heads.v,
                         .out = out,
                         .lse = lse != nullptr ? lse->front() : Tensor(),
                         .mask = mask(context, sequence),
                         .dropout = dropout(context),
                         .scale = static_cast<float>(config_.softmax_scale),
                         .max_logit = max_logit});
  context.observe(config_.name + ".core_attention", out);
  if (logits_wanted) context.observe(config_.name + ".core_attention.max_logit", max_logit);
  return out;
}

Tensor AttentionCore::forward_over(const Context& context, const AttentionHeads& heads, int64_t key_count) const {
  const Tensor out =
      context.empty({heads.q.size(2), heads.q.size(0), config_.heads * config_.value_dim}, "core_attn.out");
  forward_pass(context, {.q = heads.q,
                         .k = heads.k,
                         .v = heads.v,
                         .out = out,
                         .key_count = key_count,
                         .lse = {},
                         .mask = {.causal = true, .window = config_.window, .document_starts = {}, .place = {}},
                         .dropout = {},
                         .scale = static_cast<float>(config_.softmax_scale)});
  return out;
}

void AttentionCore::keep_heads(const Context& context, const AttentionHeads& heads, AttentionCoreSaved* saved) {
  if (!context.with_gradient) return;
  saved->q = context.keep(heads.q);
  saved->k = context.keep(heads.k);
  saved->v = std::make_shared<Tensor>(heads.v);
}

Tensor AttentionCore::forward(const Context& context, const AttentionHeads& heads, AttentionCoreSaved* saved) const {
  if (!context.with_gradient) return run(context, heads, nullptr);
  saved->lse = std::make_shared<std::vector<Tensor>>();
  const Tensor out = run(context, heads, saved->lse.get());
  saved->out = context.save("core_attn", out,
                            [this, again = context, q = saved->q, k = saved->k, v = saved->v, lse = saved->lse] {
                              const Tensor keys = k.get();  // brings v
                              return run(again, {q.get(), keys, *v}, lse.get());
                            });
  if (context.save_policy.action("core_attn") == SaveAction::kRecompute) saved->lse->clear();
  return out;
}

AttentionHeads AttentionCore::backward(const Context& context, const Tensor& dout,
                                       const AttentionCoreSaved& saved) const {
  const Tensor& out = saved.out.get();  // brings lse
  const Tensor& k = saved.k.get();      // brings v
  const AttentionHeads heads{saved.q.get(), k, *saved.v};
  std::optional<Weight> offset;
  if (offset_ != nullptr) offset.emplace(context.store, *offset_);
  const Tensor sink = offset ? offset->tensor() : zeros_;
  const Tensor dsink = offset ? context.store.gradient(*offset_) : Tensor();
  const AttentionHeads gradient =
      context.groups->part().context.is_whole()
          ? run_backward(context, heads, {out, saved.lse->front(), dout, sink, dsink})
          : ContextAttention(context, config_, {sink, dsink}).backward(heads, out, *saved.lse, dout);
  if (offset_ != nullptr) context.store.gradient_complete(*offset_);
  return gradient;
}

AttentionHeads AttentionCore::run_backward(const Context& context, const AttentionHeads& heads,
                                           const Rows& rows) const {
  const AttentionHeads gradient{context.empty(heads.q.shape(), "attention.dq"),
                                context.empty(heads.k.shape(), "attention.dk"),
                                context.empty(heads.v.shape(), "attention.dv")};
  kernels::attention_backward(context.stream, {.dout = rows.dout,
                                               .q = heads.q,
                                               .k = heads.k,
                                               .v = heads.v,
                                               .out = rows.out,
                                               .lse = rows.lse,
                                               .dq = gradient.q,
                                               .dk = gradient.k,
                                               .dv = gradient.v,
                                               .mask = mask(context, heads.q.size(2)),
                                               .dropout = dropout(context),
                                               .scale = static_cast<float>(config_.softmax_scale),
                                               .sink = rows.sink,
                                               .dsink = rows.dsink});
  return gradient;
}

}  // namespace conclave
