// Loss and perplexity of a model on a text or a row of tokens.
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

}  // namespace conclave
