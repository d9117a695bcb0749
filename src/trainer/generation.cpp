#include "trainer/generation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/clock.h"
#include "base/philox.h"

namespace conclave {
namespace {

// Indices of the candidates, most likely first; ties: lowest index first.
std::vector<int32_t> ranked(std::span<const float> logits, int64_t count) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto better = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + count, order.end(), better);
  order.resize(static_cast<size_t>(count));
  return order;
}

// One forward over `tokens`, which stand at positions cache.length()...; logits of the last.
std::vector<float> next_logits(Engine& engine, std::span<const int32_t> tokens, KvCache& cache) {
  const auto count = static_cast<int64_t>(tokens.size());
  MicroBatch host = plain_batch(1, count, 0);
  host.tokens.assign(tokens.begin(), tokens.end());
  for (int64_t i = 0; i < count; ++i)
    host.position_ids[static_cast<size_t>(i)] = static_cast<int32_t>(cache.length() + i);
  return engine.next_logits(host, cache);
}

void check_request(const ModelSpec& spec, const GenerationRequest& request) {
  CONCLAVE_USER_CHECK(!request.prompt.empty(), "the prompt is empty; give --prompt a text of at least one token");
  const int64_t total = static_cast<int64_t>(request.prompt.size()) + request.max_new_tokens;
  CONCLAVE_USER_CHECK(spec.positions != PositionKind::kLearned || total <= spec.max_positions,
                      "prompt and new tokens are {} together, the model has {} learned positions; lower "
                      "--max-new-tokens or shorten the prompt",
                      total, spec.max_positions);
  for (const int32_t token : request.prompt) {
    CONCLAVE_USER_CHECK(
        token >= 0 && token < spec.vocab,
        "token {} of the prompt is outside the vocabulary of {}; use the tokenizer that the model was trained with",
        token, spec.vocab);
  }
}

}  // namespace

int32_t pick_token(std::span<const float> logits, const SamplingRule& rule, uint64_t sample, int64_t position) {
  for (const float value : logits)
    CONCLAVE_USER_CHECK(!std::isnan(value), "the model gave NaN; its weights are damaged or training had diverged");
  if (rule.greedy || rule.temperature == 0) return ranked(logits, 1)[0];
  const auto vocab = static_cast<int64_t>(logits.size());
  const std::vector<int32_t> order = ranked(logits, rule.top_k > 0 ? std::min(rule.top_k, vocab) : vocab);
  std::vector<double> weights;
  const double largest = logits[static_cast<size_t>(order[0])];
  double total = 0;
  for (const int32_t token : order) {
    weights.push_back(std::exp((static_cast<double>(logits[static_cast<size_t>(token)]) - largest) / rule.temperature));
    total += weights.back();
  }
  size_t kept = weights.size();
  if (rule.top_p > 0 && rule.top_p < 1) {
    double mass = 0;
    for (kept = 0; kept < weights.size() && mass < rule.top_p * total; ++kept) mass += weights[kept];
    total = mass;
  }
  const RandomStream stream(rule.seed, "generate", sample);
  double rest = static_cast<double>(stream.uniform(static_cast<uint64_t>(position))) * total;
  for (size_t i = 0; i + 1 < kept; ++i) {
    rest -= weights[i];
    if (rest < 0) return order[i];
  }
  return order[kept - 1];
}

GenerationResult generate(Engine& engine, const GenerationRequest& request) {
  check_request(engine.spec(), request);
  const auto prompt_length = static_cast<int64_t>(request.prompt.size());
  KvCache cache(static_cast<int64_t>(engine.spec().layers.size()), prompt_length + request.max_new_tokens);
  GenerationResult result;
  Stopwatch watch;
  std::vector<float> logits = next_logits(engine, request.prompt, cache);
  result.prompt_seconds = watch.seconds();
  watch.restart();
  for (int64_t i = 0; i < request.max_new_tokens; ++i) {
    const int32_t token = pick_token(logits, request.sampling, request.sample, prompt_length + i);
    if (request.stop_token && token == *request.stop_token) {
      result.stopped = true;
      break;
    }
    result.tokens.push_back(token);
    if (request.on_token && !request.on_token(token)) break;
    if (i + 1 < request.max_new_tokens) logits = next_logits(engine, std::span<const int32_t>(&token, 1), cache);
  }
  result.token_seconds = watch.seconds();
  return result;
}

}  // namespace conclave
