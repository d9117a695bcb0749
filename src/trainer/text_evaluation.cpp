#include "trainer/text_evaluation.h"

#include <algorithm>

namespace conclave {
namespace {

// Windows [first, first + batch) of S tokens; the last may be short, and its rest is masked.
MicroBatch window_batch(std::span<const int32_t> tokens, int64_t seq_length, int64_t first, int64_t batch) {
  MicroBatch out = plain_batch(batch, seq_length, 0);
  const auto total = static_cast<int64_t>(tokens.size());
  for (int64_t i = 0; i < batch * seq_length; ++i) {
    const int64_t at = first * seq_length + i;
    const auto index = static_cast<size_t>(i);
    out.tokens[index] = at < total ? tokens[static_cast<size_t>(at)] : 0;
    out.labels[index] = at + 1 < total ? tokens[static_cast<size_t>(at + 1)] : 0;
    out.loss_mask[index] = at + 1 < total ? 1.0f : 0.0f;
  }
  return out;
}

}  // namespace

EvaluationReport evaluate_tokens(Engine& engine, std::span<const int32_t> tokens, int64_t batch,
                                 const std::function<void(double share)>& progress) {
  const int64_t seq_length = engine.spec().sequence_length;
  const auto total = static_cast<int64_t>(tokens.size());
  const int64_t windows = ceil_div(std::max<int64_t>(total - 1, 0), seq_length);
  EvaluationReport report;
  for (int64_t first = 0; first < windows; first += batch) {
    const int64_t count = std::min(batch, windows - first);
    const EvaluationSum sum = engine.evaluate(window_batch(tokens, seq_length, first, count));
    report.loss_sum += sum.loss_sum;
    report.tokens += sum.tokens;
    if (progress) progress(static_cast<double>(first + count) / static_cast<double>(windows));
  }
  return report;
}

}  // namespace conclave
