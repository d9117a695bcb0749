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
  // Data-parallel ranks take windows in turn; one that has none left runs a masked one.
  const RankLayout& layout = engine.groups().layout();
  const int64_t step = batch * layout.data_size(), own = batch * layout.dense(engine.groups().rank()).data;
  EvaluationReport report;
  for (int64_t first = 0; first < windows; first += step) {
    const int64_t count = std::clamp<int64_t>(windows - first - own, 1, batch);
    const EvaluationSum sum = engine.evaluate(window_batch(tokens, seq_length, first + own, count));
    report.loss_sum += sum.loss_sum;
    report.tokens += sum.tokens;
    if (progress) progress(static_cast<double>(std::min(first + step, windows)) / static_cast<double>(windows));
  }
  return report;
}

EvaluationSum evaluate_stream(Engine& engine, const BatchSource& source, Split split, int64_t batch) {
  const RankLayout& layout = engine.groups().layout();
  const int64_t ranks = layout.data_size(), samples = source.size(split);
  const auto stream = source.stream(split, {.micro_batch_size = batch,
                                            .data_parallel_rank = layout.dense(engine.groups().rank()).data,
                                            .data_parallel_size = ranks,
                                            .drop_last = false});
  EvaluationSum total;
  for (int64_t first = 0; first < samples; first += batch * ranks) {
    const std::optional<MicroBatch> own = stream->next();
    MicroBatch masked = plain_batch(1, engine.spec().sequence_length, 0);
    std::fill(masked.loss_mask.begin(), masked.loss_mask.end(), 0.0f);
    const EvaluationSum sum = engine.evaluate(own && own->batch > 0 ? *own : masked);
    total.loss_sum += sum.loss_sum;
    total.tokens += sum.tokens;
  }
  return total;
}

}  // namespace conclave
