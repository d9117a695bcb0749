// What a run tells: lines for people, metrics.jsonl and TensorBoard for programs. Averages are over the log interval.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "checkpoint/writer.h"
#include "config/options.h"
#include "data/blend.h"
#include "trainer/engine.h"
#include "trainer/run_state.h"
#include "trainer/step_times.h"

namespace conclave {

/// One iteration.
struct StepLog {
  int64_t iteration = 0;
  int64_t consumed_samples = 0;
  int64_t global_batch_size = 0;
  bool skipped = false;
  StepResult result;
  double learning_rate = 0;  ///< after the scheduler moved
  double seconds = 0;
  NamedTimes times;  ///< of its parts, by --timing-log-level
  std::map<std::string, double> layer_statistics;
  std::optional<double> max_attention_logit;
};

class RunLog {
 public:
  /// `speaks`: this rank writes; others take part in what is measured together and keep silent.
  RunLog(const Options& options, const ModelSpec& spec, Device& device, const RunState& state, bool speaks);
  ~RunLog();

  /// Every iteration; tells at each log interval. Reads the routers' statistics then.
  void step(const StepLog& entry, Engine& engine);
  void evaluating(Split split, int64_t samples, int64_t of_samples);
  void evaluated(int64_t iteration, Split split, double loss);
  void save_begun(int64_t iteration, double stall_seconds);
  void saved(const SaveReport& report);
  void loaded(int64_t iteration, const std::string& directory);
  void event(const std::string& what, const std::string& text);
  /// Before a save: everything up to now is on disk.
  void flush();
  void end_of_training(const std::string& reason);
  /// The closing table.
  void finish(const std::string& reason);

 private:
  class Implementation;
  int64_t log_interval_;
  int64_t points_interval_;                         ///< of TensorBoard; 0: none
  std::unique_ptr<Implementation> implementation_;  ///< null: silent
};

}  // namespace conclave
