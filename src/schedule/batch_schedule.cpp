#include "schedule/batch_schedule.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace conclave {
BatchSchedule::BatchSchedule(const TrainingOptions& training, int64_t data_parallel_size, int64_t seq_length)
    : share_(training.micro_batch_size * data_parallel_size),
      decrease_(training.decrease_batch_size_if_needed),
      rampup_(training.rampup_batch_size) {
  CONCLAVE_USER_CHECK(share_ > 0, "--micro-batch-size is required for training; it is not given; add it");
  if (training.step_batch_size_schedule) {
    changes_ = parse_batch_changes(*training.step_batch_size_schedule, seq_length);
    return;
  }
  const int64_t batch = training.global_batch_size > 0 ? training.global_batch_size : share_;
  changes_ = {{0, batch}};
  CONCLAVE_USER_CHECK(
      batch >= share_ || !decrease_,
      "--global-batch-size must be at least --micro-batch-size times the data-parallel size; got {} and "
      "{}; raise it",
      batch, share_);
  if (rampup_.empty()) {
    at(0);
    return;
  }
  CONCLAVE_USER_CHECK(rampup_.size() == 3, "--rampup-batch-size needs 3 values; got {}", rampup_.size());
  const int64_t start = rampup_[0], step = rampup_[1];
  CONCLAVE_USER_CHECK(start > 0 && step > 0 && rampup_[2] >= 0 && start <= batch && (batch - start) % step == 0,
                      "--rampup-batch-size must reach --global-batch-size in whole increments; got {} + N * {} and {}; "
                      "change one of them",
                      start, step, batch);
}

int64_t BatchSchedule::global_at(int64_t consumed) const {
  if (rampup_.empty()) {
    const auto after = std::upper_bound(changes_.begin(), changes_.end(), consumed,
                                        [](int64_t sample, const BatchChange& c) { return sample < c.first_sample; });
    return std::prev(after)->batch;
  }
  const int64_t batch = changes_[0].batch, increments = (batch - rampup_[0]) / rampup_[1];
  if (consumed > rampup_[2] || increments == 0 || rampup_[2] == 0) return batch;
  // In floating point, as the numbers this must agree with were made.
  const double samples_of_increment = static_cast<double>(rampup_[2]) / static_cast<double>(increments);
  const auto done = static_cast<int64_t>(static_cast<double>(consumed) / samples_of_increment);
  return std::min(batch, rampup_[0] + done * rampup_[1]);
}

StepBatch BatchSchedule::unchecked_at(int64_t consumed) const {
  StepBatch step;
  step.global = global_at(consumed);
  step.micro_batches = step.global / share_;
  step.running = decrease_ ? step.micro_batches * share_ : step.global;
  step.divisible = step.running % share_ == 0 && step.running > 0;
  return step;
}

StepBatch BatchSchedule::at(int64_t consumed) const {
  const StepBatch step = unchecked_at(consumed);
  CONCLAVE_USER_CHECK(
      step.divisible,
      "the global batch must be divisible by --micro-batch-size times the data-parallel size; got {} and "
      "{} after {} samples; change one of them or add --decrease-batch-size-if-needed",
      step.global, share_, consumed);
  return step;
}

int64_t BatchSchedule::steps_in(int64_t samples) const {
  if (is_constant()) return samples / at(0).running;
  int64_t steps = 0;
  for (int64_t consumed = 0; samples - consumed >= at(consumed).running; ++steps) consumed += at(consumed).running;
  return steps;
}

int64_t training_steps(const TrainingOptions& training, const BatchSchedule& schedule) {
  return training.train_iters > 0 ? training.train_iters : schedule.steps_in(training.train_samples);
}

}  // namespace conclave
