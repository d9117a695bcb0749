#include "layers/embedding.h"

#include "kernels/dropout.h"
#include "kernels/embedding.h"

namespace conclave {
namespace {

constexpr const char* kDropoutName = "embedding.dropout";

Parameter* declare_table(ParameterStore& store, const char* name, int64_t rows, int64_t hidden, Initializer init,
                         int uses) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole({rows, hidden});
  spec.init = init;
  spec.role = ParameterRole::kEmbedding;
  spec.gradient_uses = uses;
  return store.declare(spec);
}

}  // namespace

Embedding::Embedding(ParameterStore& store, const EmbeddingConfig& config) : config_(config) {
  table_ = declare_table(store, "embedding.word_embeddings.weight", config.vocab, config.hidden, config.init,
                         1 + (config.tied ? 1 : 0) + (config.predicts ? 1 : 0));
  if (config.max_positions > 0) {
    positions_ = declare_table(store, "embedding.position_embeddings.weight", config.max_positions, config.hidden,
                               config.init, config.predicts ? 2 : 1);
  }
}

Tensor Embedding::forward(const Context& context, const Tensor& tokens) const {
  const Tensor y = context.empty({tokens.size(1), tokens.size(0), config_.hidden}, "embedding");
  {
    const Weight table(context.store, *table_);
    kernels::embedding_forward(context.stream, {.ids = tokens, .table = table.tensor(), .y = y});
  }
  if (positions_ != nullptr) {
    const Weight table(context.store, *positions_);
    kernels::embedding_forward(
        context.stream,
        {.ids = context.batch.positions, .table = table.tensor(), .y = y, .accumulate = kernels::Accumulate::kAdd});
  }
  if (context.training && config_.dropout > 0) {
    kernels::dropout_add(context.stream, {.x = y,
                                          .residual = {},
                                          .out = y,
                                          .rate = static_cast<float>(config_.dropout),
                                          .streams = context.random_streams(kDropoutName)});
  }
  return y;
}

void Embedding::backward(const Context& context, const Tensor& dy, const Tensor& tokens, EmbeddingUse use) const {
  Tensor dtable_rows = dy;
  if (context.training && config_.dropout > 0) {
    dtable_rows = context.empty(dy.shape(), "embedding.dropout_backward");
    kernels::dropout_add(context.stream, {.x = dy,
                                          .residual = {},
                                          .out = dtable_rows,
                                          .rate = static_cast<float>(config_.dropout),
                                          .streams = context.random_streams(kDropoutName)});
  }
  context.weight_gradients.add(context.batch.index, [this, stream = context.stream, store = &context.store, dtable_rows,
                                                     tokens, use, positions = context.batch.positions] {
    const bool predicts = use == EmbeddingUse::kPrediction;
    const int token_use = predicts ? table_->spec.gradient_uses - 1 : 0;
    kernels::embedding_backward(stream,
                                {.ids = tokens, .dy = dtable_rows, .dtable = store->gradient(*table_, token_use)});
    store->gradient_complete(*table_);
    if (positions_ == nullptr) return;
    kernels::embedding_backward(
        stream, {.ids = positions, .dy = dtable_rows, .dtable = store->gradient(*positions_, predicts ? 1 : 0)});
    store->gradient_complete(*positions_);
  });
}

}  // namespace conclave
