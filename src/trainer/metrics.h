// metrics.jsonl of a run: one JSON object per line, each one write. Format: docs/file-formats.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace conclave {

/// What one log interval has to say. Absent values get no key.
struct TrainRecord {
  int64_t iteration = 0;
  int64_t consumed_samples = 0;  ///< sequences since the start of the run
  /// Mean over the interval's steps that were not skipped, by name: "lm_loss", "load_balancing_loss", "z_loss", ...
  std::vector<std::pair<std::string, double>> losses;
  std::optional<double> grad_norm;  ///< of the last step
  std::optional<double> learning_rate;
  std::optional<int64_t> zeros_in_grad;       ///< of the last step
  std::optional<double> params_norm;          ///< after the last step
  std::optional<double> max_attention_logit;  ///< largest of the interval
  int64_t skipped = 0;                        ///< steps without an update
  std::optional<double> step_ms;              ///< mean time of a step
  std::optional<double> tokens_per_second;    ///< all ranks
  std::optional<double> tflops;               ///< per rank, Megatron's count
  std::optional<int64_t> peak_bytes;          ///< device memory
  /// Anything else, after the keys above.
  std::vector<std::pair<std::string, Json>> extra;

  const double* loss(const std::string& name) const;  ///< nullptr if absent
};

Json metrics_json(const TrainRecord& record);
Json metrics_json_eval(int64_t iteration, const std::string& split, double lm_loss);
/// How many tokens each expert of a layer got in the interval.
Json metrics_json_experts(int64_t iteration, int64_t layer, const std::vector<int64_t>& tokens);
/// exp(loss), where loss is cut at 20 as Megatron does.
double perplexity(double lm_loss);

/// Appends to RUN/metrics.jsonl. On resume a torn last line is cut off first. One rank has one.
class MetricsWriter {
 public:
  struct Run {
    std::string run_id;
    int64_t world_size = 1;
    Json layout;
  };
  /// A file that is new, or whose first line is not whole, gets the run line.
  MetricsWriter(const std::string& path, const Run& run);

  /// Of the first line: the run's own since its first start, whatever the constructor was given.
  const std::string& run_id() const { return run_id_; }
  /// Any object with a "kind"; gets "time" (Unix seconds) if it has none. One write, not buffered.
  void write(Json record);
  void write(const TrainRecord& record) { write(metrics_json(record)); }
  /// fsync: call it before a checkpoint appears, so that no step is ever missing.
  void sync() { file_->sync(); }

 private:
  std::string run_id_;
  std::unique_ptr<OutputFile> file_;
};

/// A whole metrics.jsonl after its replacement rule: a later line replaces an earlier one of the same kind and
/// iteration (and split, layer).
struct Metrics {
  Json run;
  std::vector<Json> train;    ///< ascending iterations
  std::vector<Json> eval;     ///< ascending (iteration, split)
  std::vector<Json> experts;  ///< ascending (iteration, layer)
  std::vector<Json> others;   ///< save, load, event, in the order of the file
};

/// A torn last line is left out. UserError naming file and line if another is not one JSON object with a kind.
Metrics read_metrics(const std::string& path);

}  // namespace conclave
