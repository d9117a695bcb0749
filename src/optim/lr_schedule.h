// Learning rate and weight decay as functions of samples seen. Formulas and order of evaluation follow Megatron's
// scheduler, whose values they equal to the last digits (golden/training/lr_wd.json).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/options.h"

namespace conclave {

/// Lengths are in samples; warmup may be fractional.
struct RateConfig {
  double max_lr = 0;
  double min_lr = 0;
  double init_lr = 0;            ///< where warm-up starts
  std::string style = "linear";  ///< constant, linear, cosine, inverse-square-root, WSD
  double warmup_steps = 0;
  double decay_steps = 0;
  double wsd_decay_steps = 0;
  std::string wsd_style = "exponential";  ///< exponential, linear, cosine, minus_sqrt
  double start_weight_decay = 0;
  double end_weight_decay = 0;
  std::string weight_decay_style = "constant";  ///< constant, linear, cosine
  double weight_decay_steps = 0;
};

/// What a run of `options` schedules. Throws UserError, naming the options, where lengths contradict each other.
/// train_iters is the resolved number of steps; 0 where a run is given in samples.
RateConfig rate_config(const OptimizerOptions& optimizer, int64_t train_iters, int64_t train_samples,
                       int64_t global_batch_size);

/// Rate after `samples`; max_lr and min_lr replace the configured ones (decoupled rates).
double learning_rate(const RateConfig& config, double samples, std::optional<double> max_lr = {},
                     std::optional<double> min_lr = {});
double weight_decay(const RateConfig& config, double samples);

}  // namespace conclave
