// How many sequences each step trains on: constant, ramped up, or stepped. Pure arithmetic on samples consumed.
#pragma once

#include <cstdint>
#include <vector>

#include "config/batch_changes.h"
#include "config/options.h"

namespace conclave {

/// The batch of one step, in sequences.
struct StepBatch {
  int64_t global = 0;         ///< what the schedule says
  int64_t running = 0;        ///< what is trained on: below `global` only with --decrease-batch-size-if-needed
  int64_t micro_batches = 0;  ///< of each data-parallel rank: running / (micro batch * ranks)
  bool divisible = true;      ///< `running` is a whole number of micro-batches on every rank

  bool operator==(const StepBatch&) const = default;
};

class BatchSchedule {
 public:
  /// Throws UserError where the options contradict each other; a constant batch must be divisible at once.
  BatchSchedule(const TrainingOptions& training, int64_t data_parallel_size, int64_t seq_length);

  /// The batch of the step that begins after `consumed` samples. Throws UserError if it is not divisible.
  StepBatch at(int64_t consumed) const;
  /// The same without that check.
  StepBatch unchecked_at(int64_t consumed) const;
  /// Whole steps in `samples` samples, from the start. Throws as at().
  int64_t steps_in(int64_t samples) const;
  bool is_constant() const { return changes_.size() == 1 && rampup_.empty(); }

 private:
  int64_t share_;  ///< micro batch * data-parallel ranks
  bool decrease_;
  std::vector<BatchChange> changes_;
  std::vector<int64_t> rampup_;  ///< {start, increment, samples}; the end is changes_[0].batch

  int64_t global_at(int64_t consumed) const;
};

/// Steps of a run: train_iters, or those that fit into train_samples.
int64_t training_steps(const TrainingOptions& training, const BatchSchedule& schedule);

}  // namespace conclave
