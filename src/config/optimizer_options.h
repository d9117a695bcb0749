// Optimizer, learning rate, weight decay, clipping.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace conclave {

struct OptimizerOptions {
  std::string optimizer = "adam";  ///< adam, sgd
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_eps = 1e-8;
  double sgd_momentum = 0.9;
  double clip_grad = 1.0;  ///< global norm; <= 0: no clipping, the norm is still computed
  double weight_decay = 0.01;
  std::optional<double> start_weight_decay;
  std::optional<double> end_weight_decay;
  std::string weight_decay_incr_style = "constant";  ///< constant, linear, cosine
  bool apply_wd_to_qk_layernorm = false;

  std::optional<double> lr;  ///< required for training
  double min_lr = 0.0;
  std::string lr_decay_style = "linear";  ///< constant, linear, cosine, inverse-square-root, WSD
  int64_t lr_decay_iters = 0;             ///< 0: train_iters
  int64_t lr_decay_samples = 0;           ///< 0: train_samples
  int64_t lr_warmup_iters = 0;
  int64_t lr_warmup_samples = 0;
  std::optional<double> lr_warmup_fraction;  ///< of the decay length
  double lr_warmup_init = 0.0;
  int64_t lr_wsd_decay_iters = 0;                  ///< 0: not given
  int64_t lr_wsd_decay_samples = 0;                ///< 0: not given
  std::string lr_wsd_decay_style = "exponential";  ///< exponential, linear, cosine, minus_sqrt
  std::optional<double> decoupled_lr;              ///< embedding and output layer
  std::optional<double> decoupled_min_lr;
  bool override_opt_param_scheduler = false;
  bool use_checkpoint_opt_param_scheduler = false;
};

}  // namespace conclave
