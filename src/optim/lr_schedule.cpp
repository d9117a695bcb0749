#include "optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace conclave {
namespace {

double wsd_coefficient(const RateConfig& config, double samples) {
  const double start = config.decay_steps - config.wsd_decay_steps;
  if (samples <= start) return 1.0;
  const double ratio = (samples - start) / config.wsd_decay_steps;
  if (config.wsd_style == "linear") return 1.0 - ratio;
  if (config.wsd_style == "cosine") return 0.5 * (std::cos(std::numbers::pi * ratio) + 1.0);
  if (config.wsd_style == "exponential") return 2.0 * std::pow(0.5, ratio) - 1.0;
  return 1.0 - std::sqrt(ratio);  // minus_sqrt
}

double decay_coefficient(const RateConfig& config, double samples) {
  const double ratio = (samples - config.warmup_steps) / (config.decay_steps - config.warmup_steps);
  if (config.style == "linear") return 1.0 - ratio;
  if (config.style == "cosine") return 0.5 * (std::cos(std::numbers::pi * ratio) + 1.0);
  return wsd_coefficient(config, samples);  // WSD
}

void check_rates(const RateConfig& config) {
  CONCLAVE_USER_CHECK(config.min_lr >= 0, "--min-lr {}: must not be negative", config.min_lr);
  CONCLAVE_USER_CHECK(config.min_lr <= config.max_lr, "--min-lr {} is above --lr {}; lower it", config.min_lr,
                      config.max_lr);
  CONCLAVE_USER_CHECK(config.init_lr <= config.max_lr, "--lr-warmup-init {} is above --lr {}; lower it", config.init_lr,
                      config.max_lr);
  CONCLAVE_USER_CHECK(
      config.decay_steps > 0,
      "the learning rate has no length to decay over; give --train-iters or --train-samples, or --lr-decay-iters");
  CONCLAVE_USER_CHECK(config.warmup_steps < config.decay_steps,
                      "warm-up takes {} samples, decay ends at {}; make --lr-warmup-iters (or -samples, -fraction) "
                      "shorter than --lr-decay-iters (or --train-iters)",
                      config.warmup_steps, config.decay_steps);
  CONCLAVE_USER_CHECK(config.style != "WSD" || config.wsd_decay_steps > 0,
                      "--lr-decay-style WSD needs --lr-wsd-decay-iters (or --lr-wsd-decay-samples)");
  CONCLAVE_USER_CHECK(config.end_weight_decay >= config.start_weight_decay,
                      "--end-weight-decay {} is below --start-weight-decay {}; raise it", config.end_weight_decay,
                      config.start_weight_decay);
}

}  // namespace

RateConfig rate_config(const OptimizerOptions& optimizer, int64_t train_iters, int64_t train_samples,
                       int64_t global_batch_size) {
  CONCLAVE_USER_CHECK(train_iters > 0 || train_samples > 0,
                      "a run needs a length; give --train-iters or --train-samples");
  CONCLAVE_USER_CHECK(optimizer.lr.has_value(), "training needs a learning rate; give --lr");
  RateConfig config;
  config.max_lr = *optimizer.lr;
  config.min_lr = optimizer.min_lr;
  config.init_lr = optimizer.lr_warmup_init;
  config.style = optimizer.lr_decay_style;
  config.wsd_style = optimizer.lr_wsd_decay_style;
  const bool by_samples = train_samples > 0;
  const auto batch = static_cast<double>(global_batch_size);
  const auto length = by_samples ? static_cast<double>(train_samples) : static_cast<double>(train_iters) * batch;
  const auto given = [&](int64_t samples, int64_t iters) {
    return by_samples ? static_cast<double>(samples) : static_cast<double>(iters) * batch;
  };
  config.decay_steps = given(optimizer.lr_decay_samples, optimizer.lr_decay_iters);
  if (config.decay_steps == 0) config.decay_steps = length;
  config.warmup_steps = optimizer.lr_warmup_fraction ? *optimizer.lr_warmup_fraction * config.decay_steps
                                                     : given(optimizer.lr_warmup_samples, optimizer.lr_warmup_iters);
  config.wsd_decay_steps = given(optimizer.lr_wsd_decay_samples, optimizer.lr_wsd_decay_iters);
  config.weight_decay_steps = length;
  config.weight_decay_style = optimizer.weight_decay_incr_style;
  const bool constant = config.weight_decay_style == "constant";
  config.start_weight_decay =
      constant ? optimizer.weight_decay : optimizer.start_weight_decay.value_or(optimizer.weight_decay);
  config.end_weight_decay =
      constant ? optimizer.weight_decay : optimizer.end_weight_decay.value_or(optimizer.weight_decay);
  check_rates(config);
  return config;
}

double learning_rate(const RateConfig& config, double samples, std::optional<double> max_lr,
                     std::optional<double> min_lr) {
  const double high = max_lr.value_or(config.max_lr), low = min_lr.value_or(config.min_lr);
  if (config.warmup_steps > 0 && samples <= config.warmup_steps)
    return config.init_lr + (high - config.init_lr) * samples / config.warmup_steps;
  if (config.style == "constant") return high;
  if (samples > config.decay_steps) return low;
  if (config.style == "inverse-square-root") {
    return std::max(low, high * std::sqrt(std::max(config.warmup_steps, 1.0)) / std::sqrt(std::max(samples, 1.0)));
  }
  return low + decay_coefficient(config, samples) * (high - low);
}

double weight_decay(const RateConfig& config, double samples) {
  if (samples > config.weight_decay_steps || config.weight_decay_style == "constant") return config.end_weight_decay;
  const double ratio = samples / config.weight_decay_steps;
  const double coefficient =
      config.weight_decay_style == "linear" ? ratio : 0.5 * (std::cos(std::numbers::pi * (1 - ratio)) + 1.0);
  return config.start_weight_decay + coefficient * (config.end_weight_decay - config.start_weight_decay);
}

}  // namespace conclave
