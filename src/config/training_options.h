// The loop: batch sizes, length, evaluation, seeds, checks, ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct TrainingOptions {
  int64_t micro_batch_size = 0;            ///< B, sequences; required for training
  int64_t global_batch_size = 0;           ///< sequences of one step; 0: derived, micro_batch_size * data-parallel size
  std::vector<int64_t> rampup_batch_size;  ///< {start, increment, samples}
  std::optional<std::string> step_batch_size_schedule;  ///< "0:8 1B:16 ..."; see schedule/batch_schedule.h
  bool decrease_batch_size_if_needed = false;
  int64_t train_iters = 0;    ///< steps; 0: not given; see schedule/batch_schedule.h for the steps of train_samples
  int64_t train_samples = 0;  ///< sequences; 0: not given
  int64_t seed = 1234;
  bool skip_train = false;

  // Evaluation.
  int64_t eval_iters = 100;   ///< steps per evaluation; 0: none, no validation or test data built
  int64_t eval_interval = 0;  ///< steps between evaluations; 0: only at the end
  int64_t start_eval_at_iter = 0;
  bool full_validation = false;
  int64_t eval_global_batch_size = 0;  ///< 0: derived, global_batch_size
  int64_t eval_micro_batch_size = 0;   ///< 0: derived, micro_batch_size

  // Checks and reruns.
  bool check_for_nan_in_loss_and_grad = true;
  bool check_for_spiky_loss = false;
  bool check_for_large_grads = false;
  std::string rerun_mode = "validate_results";  ///< disabled, validate_results, report_stats
  std::vector<int64_t> iterations_to_skip;      ///< 1-based iterations whose update is left out
  std::optional<std::string> result_rejected_tracker_filename;

  // Ends.
  int64_t exit_interval = 0;          ///< exit after an iteration divisible by it; 0: never
  int64_t exit_duration_in_mins = 0;  ///< 0: never
  bool exit_signal_handler = true;    ///< SIGTERM and SIGINT: finish the step, save, exit 0

  bool deterministic_mode = false;  ///< it always is; accepted
};

}  // namespace conclave
