// Loss and perplexity of a model on a text, a row of tokens or a split of data.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "trainer/engine.h"

namespace conclave {

struct EvaluationReport {
  double loss_sum = 0;
  double tokens = 0;  ///< predicted ones
  double loss() const { return loss_sum / (tokens > 0 ? tokens : 1); }
};

/// Cuts `tokens` into windows of the model's sequence length, each beginning where the one before ended, and predicts
/// every token but the first from those before it in its window.
EvaluationReport evaluate_tokens(Engine& engine, std::span<const int32_t> tokens, int64_t batch,
                                 const std::function<void(double share)>& progress);

/// A whole split, once: every data-parallel rank its part of each slice.
EvaluationSum evaluate_stream(Engine& engine, const BatchSource& source, Split split, int64_t batch);

}  // namespace conclave
