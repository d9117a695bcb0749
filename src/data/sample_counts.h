// How many samples a run asks of its data sets.
#pragma once

#include <cstdint>
#include <optional>

namespace conclave {

struct SampleCountArgs {
  int64_t train_iters = 0;  ///< derived from train_samples where that is given
  std::optional<int64_t> train_samples;
  int64_t global_batch_size = 0;
  std::optional<int64_t> eval_global_batch_size;  ///< default global_batch_size
  std::optional<int64_t> eval_interval;           ///< none: no evaluation during training
  int64_t eval_iters = 0;
  bool full_validation = false;
  bool skip_train = false;
  std::optional<int64_t> start_eval_at_iter;
};

struct SampleCounts {
  int64_t train = 0;
  std::optional<int64_t> valid;  ///< none: the whole validation set, once
  int64_t test = 0;
};

/// Training: train_samples, or train_iters * batch. Validation: one round for each interval and one at the end. Test:
/// one round.
SampleCounts sample_counts(const SampleCountArgs& args);

}  // namespace conclave
