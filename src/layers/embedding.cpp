#include "layers/embedding.h"

#include <algorithm>

#include "kernels/embedding.h"
#include "layers/position_dropout.h"
#include "layers/tensor_region.h"

namespace conclave {
namespace {

constexpr const char* kDropoutName = "embedding.dropout";

ParameterSpec table_spec(const char* name, int64_t rows, const EmbeddingConfig& config) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole({rows, config.hidden});
  spec.init = config.init;
  spec.role = ParameterRole::kEmbedding;
  return spec;
}

// In the order input, output, predictions, over the stages too: so every layout adds in the order of one process.
int token_uses(const EmbeddingConfig& config) {
  const int others = (config.tied ? 1 : 0) + (config.predicts ? 1 : 0);
  if (config.copy == TableCopy::kFirstStage) return 1;
  return config.copy == TableCopy::kLastStage ? others : 1 + others;
}

}  // namespace

VocabularyRows vocabulary_rows(int64_t vocab, const Slice& tensor) {
  const int64_t share = (vocab + tensor.size - 1) / tensor.size, begin = share * tensor.rank;
  CONCLAVE_USER_CHECK(share * (tensor.size - 1) < vocab,
                      "a vocabulary of {} cannot be shared out over {} tensor-parallel ranks; use fewer of them", vocab,
                      tensor.size);
  return {begin, std::min(share, vocab - begin)};
}

void cut_vocabulary(ParameterSpec& spec, const Slice& tensor) {
  if (tensor.is_whole()) return;
  const std::vector<int64_t> shape = spec.shard.global_shape;
  const VocabularyRows rows = vocabulary_rows(shape[0], tensor);
  spec.shard = ShardSpec::intervals(shape, 0, {{rows.begin, rows.size}});
  spec.local_shape = {rows.size, shape[1]};
}

Embedding::Embedding(ParameterStore& store, const EmbeddingConfig& config) : config_(config) {
  ParameterSpec tokens = table_spec("embedding.word_embeddings.weight", config.vocab, config);
  tokens.gradient_uses = token_uses(config);
  cut_vocabulary(tokens, config.tensor);
  tokens.shared_by_stages = config.copy != TableCopy::kOnly;
  if (config.copy == TableCopy::kLastStage) tokens.replica.assign(tokens.shard.boxes.size(), 1);
  table_ = store.declare(std::move(tokens));
  if (config.max_positions == 0) return;
  ParameterSpec positions = table_spec("embedding.position_embeddings.weight", config.max_positions, config);
  positions.gradient_uses = config.predicts ? 2 : 1;
  replicate_over_tensor(positions, config.tensor, false);
  positions_ = store.declare(positions);
}

kernels::VocabularyShard Embedding::shard() const {
  return {vocabulary_rows(config_.vocab, config_.tensor).begin, config_.vocab};
}

Tensor Embedding::forward(const Context& context, const Tensor& tokens) const {
  const Tensor rows = context.empty({tokens.size(1), tokens.size(0), config_.hidden}, "embedding");
  {
    const Weight table(context.store, *table_);
    kernels::embedding_forward(context.stream, {.ids = tokens, .table = table.tensor(), .y = rows, .shard = shard()});
  }
  // Each TP rank's rows are a part of a sum, to which positions belong once.
  if (positions_ != nullptr && config_.tensor.rank == 0) {
    const Weight table(context.store, *positions_);
    kernels::embedding_forward(
        context.stream,
        {.ids = context.batch.positions, .table = table.tensor(), .y = rows, .accumulate = kernels::Accumulate::kAdd});
  }
  const Tensor y = leave_tensor_region(context, rows, "embedding.output");
  if (context.training && config_.dropout > 0) position_dropout_add(context, y, {}, y, config_.dropout, kDropoutName);
  return y;
}

void Embedding::backward(const Context& context, const Tensor& dy, const Tensor& tokens, EmbeddingUse use) const {
  Tensor drows = dy;
  if (context.training && config_.dropout > 0) {
    drows = context.empty(dy.shape(), "embedding.dropout_backward");
    position_dropout_add(context, dy, {}, drows, config_.dropout, kDropoutName);
  }
  drows = enter_tensor_region(context, drows, "embedding.doutput");
  context.weight_gradients.add(context.batch.index, [this, stream = context.stream, store = &context.store, drows,
                                                     tokens, use, positions = context.batch.positions] {
    const bool predicts = use == EmbeddingUse::kPrediction;
    const Tensor dtable = store->gradient(*table_, predicts ? table_->spec.gradient_uses - 1 : 0);
    kernels::embedding_backward(stream, {.ids = tokens, .dy = drows, .dtable = dtable, .shard = shard()});
    store->gradient_complete(*table_);
    if (positions_ == nullptr) return;
    kernels::embedding_backward(
        stream, {.ids = positions, .dy = drows, .dtable = store->gradient(*positions_, predicts ? 1 : 0)});
    store->gradient_complete(*positions_);
  });
}

}  // namespace conclave
