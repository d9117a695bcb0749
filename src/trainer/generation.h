// Text from a model: one token after another, keys and values kept.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/engine.h"

namespace conclave {

struct SamplingRule {
  bool greedy = false;
  double temperature = 1.0;
  int64_t top_k = 0;  ///< 0: all
  double top_p = 0;   ///< 0: all
  uint64_t seed = 1234;
};

/// Picks a token from logits [V] (row of the next position). Greedy and ties: the lowest index. Otherwise
/// softmax(logits / temperature) cut to the top_k largest and then to the smallest set with probability >= top_p; the
/// draw is a function of (seed, sample, position).
int32_t pick_token(std::span<const float> logits, const SamplingRule& rule, uint64_t sample, int64_t position);

struct GenerationRequest {
  std::vector<int32_t> prompt;  ///< at least one token
  int64_t max_new_tokens = 100;
  std::optional<int32_t> stop_token;  ///< not given out
  SamplingRule sampling;
  uint64_t sample = 0;                    ///< number of this continuation of the prompt
  std::function<bool(int32_t)> on_token;  ///< each token as it comes; false stops
};

struct GenerationResult {
  std::vector<int32_t> tokens;  ///< new ones
  bool stopped = false;         ///< met stop_token
  double prompt_seconds = 0, token_seconds = 0;
};

/// Prompt and new tokens together must fit the model's positions where those are learned.
GenerationResult generate(Engine& engine, const GenerationRequest& request);

}  // namespace conclave
