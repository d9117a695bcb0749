// Token embedding, learned positions, embedding dropout.
#pragma once

#include <string>

#include "kernels/embedding.h"
#include "nn/context.h"

namespace conclave {

struct EmbeddingConfig {
  int64_t vocab = 0;          ///< V
  int64_t hidden = 0;         ///< H
  int64_t max_positions = 0;  ///< > 0: learned positions
  double dropout = 0;
  bool tied = false;      ///< the output layer shares the token table
  bool predicts = false;  ///< prediction depths read it as well
  Initializer init;
  Slice tensor;  ///< cut over TP by rows of the token table
};

/// Rows [begin, begin + size) of the vocabulary that a TP rank holds: equal shares, the last one smaller.
struct VocabularyRows {
  int64_t begin = 0, size = 0;
};
VocabularyRows vocabulary_rows(int64_t vocab, const Slice& tensor);
/// A [V,H] table cut by rows.
void cut_vocabulary(ParameterSpec& spec, const Slice& tensor);

/// Who reads the tables: each adds its gradient to a buffer of its own.
enum class EmbeddingUse { kInput, kPrediction };

class Embedding {
 public:
  Embedding(ParameterStore& store, const EmbeddingConfig& config);
  /// tokens [B,S] i32 -> [S,B,H]; with sequence parallelism this rank's [S/TP,B,H].
  Tensor forward(const Context& context, const Tensor& tokens) const;
  /// Enqueues the tables' gradients.
  void backward(const Context& context, const Tensor& dy, const Tensor& tokens,
                EmbeddingUse use = EmbeddingUse::kInput) const;
  /// The token table: the output layer's weight as well where embeddings are tied.
  const Parameter& table() const { return *table_; }

 private:
  EmbeddingConfig config_;
  Parameter* table_;
  Parameter* positions_ = nullptr;
  kernels::VocabularyShard shard() const;
};

}  // namespace conclave
