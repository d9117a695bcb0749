// The rates of an update, from options.
#pragma once

#include "config/options.h"
#include "optim/lr_schedule.h"
#include "optim/training_store.h"

namespace conclave {

class RateSchedule {
 public:
  explicit RateSchedule(const Options& options)
      : RateSchedule(options, rate_config(options.optimizer, options.training.train_iters,
                                          options.training.train_samples, options.training.global_batch_size)) {}
  RateSchedule(const Options& options, const RateConfig& config) : optimizer_(options.optimizer), config_(config) {}

  /// `samples` seen by the scheduler before this update (skipped updates do not move it); `step` counts updates,
  /// from 1.
  UpdateRates at(int64_t samples, int64_t step) const {
    const auto seen = static_cast<double>(samples);
    const double lr = learning_rate(config_, seen);
    const double decoupled = optimizer_.decoupled_lr
                                 ? learning_rate(config_, seen, optimizer_.decoupled_lr, optimizer_.decoupled_min_lr)
                                 : lr;
    return {lr, decoupled, weight_decay(config_, seen), step};
  }
  const RateConfig& config() const { return config_; }

 private:
  OptimizerOptions optimizer_;
  RateConfig config_;
};

}  // namespace conclave
