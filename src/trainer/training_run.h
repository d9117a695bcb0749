// The loop: data in, steps, evaluation, checkpoints, ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/exit_code.h"
#include "checkpoint/writer.h"
#include "comm/world.h"
#include "config/parse.h"
#include "convert/hf_state.h"
#include "schedule/batch_schedule.h"
#include "trainer/engine.h"
#include "trainer/job.h"
#include "trainer/rates.h"
#include "trainer/result_check.h"
#include "trainer/run_data.h"
#include "trainer/run_log.h"
#include "trainer/run_state.h"
#include "trainer/step_times.h"

namespace conclave {

class LayerStatistics;

/// A step's loss or gradient norm jumped (--check-for-spiky-loss, --check-for-large-grads); nothing was updated.
class SuspectStep : public Error {
 public:
  SuspectStep(const char* what, double value, double limit);
  const char* kind;  ///< "loss spike" or "large gradients"
  double value;
};

/// One rank's part in a training run: built from options that were checked, then run() to its end. All ranks do the
/// same in the same order; rank 0 writes what people and programs read.
class TrainingRun {
 public:
  /// `world` must outlive the run.
  TrainingRun(const ParsedOptions& parsed, World& world);
  ~TrainingRun();

  /// Trains, evaluates, saves. SIGINT and SIGTERM end it after the step under way, saved.
  ExitCode run();

  const RunState& state() const { return state_; }
  Engine& engine() { return *engine_; }

 private:
  ParsedOptions parsed_;
  Options options_;
  std::unique_ptr<Device> device_;
  World& world_;
  std::unique_ptr<ProcessGroups> groups_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<BatchSource> source_;
  std::unique_ptr<BatchStream> stream_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<RateSchedule> rates_;
  std::unique_ptr<BatchSchedule> batches_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<StepTimer> timer_;
  std::unique_ptr<RejectionTracker> rejections_;
  RunState state_;
  std::optional<HuggingFaceOrigin> origin_;  ///< of a model that was imported
  Stopwatch since_start_;
  std::optional<std::string> loaded_from_;
  LayerStatistics* watching_ = nullptr;  ///< of the step under way, if anything looks inside
  RepeatStatistics repeats_;             ///< --rerun-mode report_stats
  int64_t last_saved_ = -1;
  int64_t first_iteration_ = 0;            ///< of this process
  std::optional<std::string> end_reason_;  ///< as all ranks agreed

  void load();
  void open_data();
  std::vector<MicroBatch> next_batches(int64_t global_batch_size);
  void forget_earlier_steps();
  void train_iteration();
  void train_on(const std::vector<MicroBatch>& batches, StepLog* entry);
  StepRequest request();
  StepResult checked_step(const std::vector<MicroBatch>& batches);
  StepResult step_twice(const std::vector<MicroBatch>& batches);
  StepResult retry(const std::vector<MicroBatch>& batches, const NonFiniteStep& first);
  StepResult repeat_suspect(const std::vector<MicroBatch>& batches, const SuspectStep& first);
  void check_jump(double loss, double gradient_norm) const;
  void tell_rejected(const SuspectStep& suspect, Rejection rejection, const std::string& text);
  bool skips(int64_t iteration) const;
  void evaluate(Split split, int64_t iteration);
  void evaluate_if_due();
  void save_if_due();
  void save();
  Json checkpoint_state() const;
  void load_hugging_face();
  std::optional<std::string> own_end_reason() const;
  bool ends();
  int64_t largest_over_job(int64_t value) const;
  void finish();
};

}  // namespace conclave
