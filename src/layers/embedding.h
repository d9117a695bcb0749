// Token embedding, learned positions, embedding dropout.
#pragma once

#include <string>

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
};

/// Who reads the tables: each adds its gradient to a buffer of its own.
enum class EmbeddingUse { kInput, kPrediction };

class Embedding {
 public:
  Embedding(ParameterStore& store, const EmbeddingConfig& config);
  /// tokens [B,S] i32 -> [S,B,H].
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
};

}  // namespace conclave
