#include "layers/context_attention.h"

#include <limits>

#include "kernels/attention_merge.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

Tensor filled(const Context& context, const Shape& shape, double value, const char* name) {
  const Tensor x = context.empty(shape, DType::kF32, name);
  kernels::fill(context.stream, {.x = x, .value = value});
  return x;
}

Tensor as(const Context& context, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor y = context.empty(x.shape(), dtype, "context.cast");
  kernels::cast(context.stream, {.x = x, .y = y});
  return y;
}

void add(const Context& context, const Tensor& x, const Tensor& sum) {
  kernels::scale(context.stream, {.x = as(context, x, sum.dtype()), .y = sum, .accumulate = kernels::Accumulate::kAdd});
}

std::vector<Tensor> zeros_like(const Context& context, const std::vector<Tensor>& tensors) {
  std::vector<Tensor> out;
  for (const Tensor& x : tensors) out.push_back(filled(context, x.shape(), 0, "context.gradient"));
  return out;
}

std::vector<Tensor> all_as(const Context& context, const std::vector<Tensor>& tensors, DType dtype) {
  std::vector<Tensor> out;
  for (const Tensor& x : tensors) out.push_back(as(context, x, dtype));
  return out;
}

}  // namespace

ContextAttention::ContextAttention(const Context& context, const AttentionCoreConfig& config, const ContextSink& sink)
    : context_(context), config_(config), split_(context, config.context_exchange), sink_(sink) {
  const int64_t first = first_head();
  if (sink.score) sink_.score = sink.score.slice(first, first + heads());
  if (sink.gradient) sink_.gradient = sink.gradient.slice(first, first + heads());
}

// After an exchange of heads this rank has one part of its heads.
int64_t ContextAttention::heads() const {
  return config_.heads * split_.outer_size() / context_.groups->part().context.size;
}

int64_t ContextAttention::first_head() const {
  const Slice& context = context_.groups->part().context;
  return context.rank % (context.size / split_.outer_size()) * heads();
}

kernels::AttentionMask ContextAttention::mask(const SequenceRun& queries, const SequenceRun& keys) const {
  const int64_t sequence = split_.sequence();
  return {.causal = true,
          .window = config_.window,
          .document_starts = split_.columns_of_run(context_.batch.document_starts, queries),
          .place = kernels::AttentionPlace{.first_head = config_.first_head + first_head(),
                                           .first_query = queries.position,
                                           .first_key = keys.position,
                                           .queries = sequence,
                                           .keys = sequence}};
}

kernels::AttentionDropout ContextAttention::dropout() const {
  if (!context_.training || config_.dropout == 0) return {};
  return {.rate = static_cast<float>(config_.dropout), .streams = context_.random_streams(config_.name + ".dropout")};
}

bool ContextAttention::sees(const SequenceRun& queries, const SequenceRun& keys) const {
  if (keys.position > queries.position + queries.size - 1) return false;
  return config_.window == 0 || keys.position + keys.size - 1 > queries.position - config_.window;
}

// A query's block of its own position has the sink: every query has one such block, so the sink counts once.
ContextSink ContextAttention::sink(const SequenceRun& queries, const SequenceRun& keys) const {
  const bool own = keys.position <= queries.position && queries.position < keys.position + keys.size;
  return own ? sink_ : ContextSink{};
}

ContextAttention::Runs ContextAttention::own_keys(const AttentionHeads& heads) const {
  std::vector<Tensor> k = split_.spread_heads(heads.k), v = split_.spread_heads(heads.v);
  if (!gathers()) return {split_.runs(split_.outer_rank()), std::move(k), std::move(v)};
  return {{{0, split_.sequence()}}, {split_.gather(k)}, {split_.gather(v)}};
}

// Everything goes to the next rank of the ring, and what the one before had comes.
std::vector<Tensor> ContextAttention::passed_on(const std::vector<Tensor>& tensors) const {
  const auto size = static_cast<int>(split_.outer_size()), rank = static_cast<int>(split_.outer_rank());
  std::vector<Tensor> received;
  std::vector<Transfer> transfers;
  for (const Tensor& x : tensors) {
    received.push_back(context_.empty(x.shape(), x.dtype(), "context.ring"));
    transfers.push_back({Transfer::Direction::kSend, (rank + 1) % size, x});
    transfers.push_back({Transfer::Direction::kReceive, (rank + size - 1) % size, received.back()});
  }
  split_.outer_group().exchange(context_.stream, std::move(transfers), "context.ring");
  return received;
}

ContextAttention::Runs ContextAttention::passed_on(const Runs& keys, int64_t step) const {
  const int64_t size = split_.outer_size();
  return {split_.runs((split_.outer_rank() + size - step) % size), passed_on(keys.a), passed_on(keys.b)};
}

// sums: out [run,B,n*Dv] f32 and lse by run of queries.
void ContextAttention::attend(const Runs& queries, const Runs& keys, const Runs& sums) const {
  for (size_t i = 0; i < queries.runs.size(); ++i) {
    const Tensor &q = queries.a[i], &out = sums.a[i], &lse = sums.b[i];
    for (size_t j = 0; j < keys.runs.size(); ++j) {
      if (!sees(queries.runs[i], keys.runs[j])) continue;
      const Tensor part = context_.empty(out.shape(), "context.part");
      const Tensor part_lse = context_.empty(lse.shape(), DType::kF32, "context.part_lse");
      const bool logits_wanted = context_.observer != nullptr && context_.observer->wants_attention_logits();
      const Tensor max_logit =
          logits_wanted ? context_.empty(lse.shape(), DType::kF32, "core_attn.max_logit") : Tensor();
      kernels::attention_forward(context_.stream, {.q = q,
                                                   .k = keys.a[j],
                                                   .v = keys.b[j],
                                                   .out = part,
                                                   .lse = part_lse,
                                                   .mask = mask(queries.runs[i], keys.runs[j]),
                                                   .dropout = dropout(),
                                                   .scale = static_cast<float>(config_.softmax_scale),
                                                   .max_logit = max_logit,
                                                   .sink = sink(queries.runs[i], keys.runs[j]).score});
      if (logits_wanted) context_.observe(config_.name + ".core_attention.max_logit", max_logit);
      kernels::attention_merge(context_.stream, {.out = out, .lse = lse, .part = part, .part_lse = part_lse});
    }
  }
}

Tensor ContextAttention::forward(const AttentionHeads& heads, std::vector<Tensor>* lse) const {
  const Runs queries{split_.runs(split_.outer_rank()), split_.spread_heads(heads.q), {}};
  Runs sums{queries.runs, {}, {}};
  for (const Tensor& q : queries.a) {
    const Shape rows{q.size(2), q.size(0), q.size(1) * config_.value_dim};
    sums.a.push_back(filled(context_, rows, 0, "context.out"));
    sums.b.push_back(
        filled(context_, {q.size(0), q.size(1), q.size(2)}, -std::numeric_limits<double>::infinity(), "context.lse"));
  }
  Runs keys = own_keys(heads);
  attend(queries, keys, sums);
  const int64_t steps = gathers() ? 1 : split_.outer_size();
  for (int64_t step = 1; step < steps; ++step) {
    keys = passed_on(keys, step);
    attend(queries, keys, sums);
  }
  if (lse != nullptr) *lse = sums.b;
  return split_.collect_rows(all_as(context_, sums.a, heads.q.dtype()), heads.q.size(1));
}

// rows: out and dout by run of queries; gradients are f32 sums.
void ContextAttention::attend_backward(const Runs& queries, const Runs& rows, const std::vector<Tensor>& lse,
                                       const Runs& keys, const Runs& query_gradients, const Runs& key_gradients) const {
  for (size_t i = 0; i < queries.runs.size(); ++i) {
    for (size_t j = 0; j < keys.runs.size(); ++j) {
      if (!sees(queries.runs[i], keys.runs[j])) continue;
      const Tensor dq = context_.empty(queries.a[i].shape(), "context.dq");
      const Tensor dk = context_.empty(keys.a[j].shape(), "context.dk");
      const Tensor dv = context_.empty(keys.b[j].shape(), "context.dv");
      const ContextSink sink_here = sink(queries.runs[i], keys.runs[j]);
      kernels::attention_backward(context_.stream, {.dout = rows.b[i],
                                                    .q = queries.a[i],
                                                    .k = keys.a[j],
                                                    .v = keys.b[j],
                                                    .out = rows.a[i],
                                                    .lse = lse[i],
                                                    .dq = dq,
                                                    .dk = dk,
                                                    .dv = dv,
                                                    .mask = mask(queries.runs[i], keys.runs[j]),
                                                    .dropout = dropout(),
                                                    .scale = static_cast<float>(config_.softmax_scale),
                                                    .sink = sink_here.score,
                                                    .dsink = sink_here.gradient});
      add(context_, dq, query_gradients.a[i]);
      add(context_, dk, key_gradients.a[j]);
      add(context_, dv, key_gradients.b[j]);
    }
  }
}

AttentionHeads ContextAttention::backward(const AttentionHeads& heads, const Tensor& out,
                                          const std::vector<Tensor>& lse, const Tensor& dout) const {
  const DType dtype = heads.q.dtype();
  const Runs queries{split_.runs(split_.outer_rank()), split_.spread_heads(heads.q), {}};
  const Runs rows{queries.runs, split_.spread_rows(out, heads.q.size(1)), split_.spread_rows(dout, heads.q.size(1))};
  const Runs query_gradients{queries.runs, zeros_like(context_, queries.a), {}};
  Runs keys = own_keys(heads);
  Runs gradients{keys.runs, zeros_like(context_, keys.a), zeros_like(context_, keys.b)};
  attend_backward(queries, rows, lse, keys, query_gradients, gradients);
  const int64_t steps = gathers() ? 1 : split_.outer_size();
  // The sums go round with their keys, and once more to come home.
  for (int64_t step = 1; step < steps; ++step) {
    keys = passed_on(keys, step);
    gradients = passed_on(gradients, step);
    attend_backward(queries, rows, lse, keys, query_gradients, gradients);
  }
  if (steps > 1) gradients = passed_on(gradients, steps);
  if (gathers()) {
    gradients.a = split_.reduce_scatter(gradients.a[0]);
    gradients.b = split_.reduce_scatter(gradients.b[0]);
  }
  return {split_.collect_heads(all_as(context_, query_gradients.a, dtype)),
          split_.collect_heads(all_as(context_, gradients.a, dtype)),
          split_.collect_heads(all_as(context_, gradients.b, dtype))};
}

}  // namespace conclave
