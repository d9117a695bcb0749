// Token embedding, learned positions, embedding dropout.
#pragma once

#include <string>

#include "kernels/embedding.h"
#include "nn/context.h"

namespace conclave {

/// Where the token table stands when a pipeline stage at the end reads it too (tied output, predictions).
enum class TableCopy {
  kOnly,        ///< one table for every reader
  kFirstStage,  ///< the first stage's: for the input, and the one that counts
  kLastStage    ///< the last stage's: for the other readers
};

struct EmbeddingConfig {
  int64_t vocab = 0;          ///< V
  int64_t hidden = 0;         ///< H
  int64_t max_positions = 0;  ///< > 0: learned positions; not on the last stage
  double dropout = 0;
  bool tied = false;      ///< the output layer shares the token table
  bool predicts = false;  ///< prediction depths read it as well
  TableCopy copy = TableCopy::kOnly;
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
  /// The gradient buffer of a tied output layer.
  int output_use() const { return config_.copy == TableCopy::kLastStage ? 0 : 1; }

 private:
  EmbeddingConfig config_;
  Parameter* table_;
  Parameter* positions_ = nullptr;
  kernels::VocabularyShard shard() const;
};

}  // namespace conclave
