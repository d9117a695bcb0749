#include "config/table/rows.h"

namespace conclave {
namespace {

void add_update(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kOptimizer;
  CONCLAVE_OPTION(optimizer, optimizer, "The update rule; adam is AdamW.")
      .one_of({"adam", "sgd", "muon", "dist_muon", "lion", "soap", "adaptive_muon"});
  CONCLAVE_OPTION(optimizer, adam_beta1, "Memory of Adam's first moment.").between(0, 1);
  CONCLAVE_OPTION(optimizer, adam_beta2, "Memory of Adam's second moment.").between(0, 1);
  CONCLAVE_OPTION(optimizer, adam_eps, "Added to the root of Adam's second moment.").at_least(0);
  CONCLAVE_OPTION(optimizer, sgd_momentum, "Momentum of SGD.").between(0, 1);
  CONCLAVE_OPTION(optimizer, clip_grad, "Largest global norm of the gradient; 0: no clipping.");
  CONCLAVE_OPTION(optimizer, weight_decay, "Decoupled weight decay of matrices.").at_least(0);
  CONCLAVE_OPTION(optimizer, start_weight_decay, "Weight decay at the start, with an increasing style.").at_least(0);
  CONCLAVE_OPTION(optimizer, end_weight_decay, "Weight decay at the end, with an increasing style.").at_least(0);
  CONCLAVE_OPTION(optimizer, weight_decay_incr_style, "How weight decay grows.")
      .one_of({"constant", "linear", "cosine"});
  CONCLAVE_OPTION(optimizer, apply_wd_to_qk_layernorm, "Weight decay on the norms of q and k too.");
}

void add_learning_rate(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kOptimizer;
  CONCLAVE_OPTION(optimizer, lr, "Largest learning rate. Required for training.").at_least(0);
  CONCLAVE_OPTION(optimizer, min_lr, "Smallest learning rate.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_decay_style, "Shape of the decay.")
      .one_of({"constant", "linear", "cosine", "inverse-square-root", "WSD"});
  CONCLAVE_OPTION(optimizer, lr_decay_iters, "Steps until the smallest rate. Default: --train-iters.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_decay_samples, "The same in sequences. Default: --train-samples.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_warmup_iters, "Steps of linear warm-up.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_warmup_samples, "The same in sequences.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_warmup_fraction, "The same as a share of the decay length.").between(0, 1);
  CONCLAVE_OPTION(optimizer, lr_warmup_init, "Learning rate at which warm-up starts.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_wsd_decay_iters, "WSD: steps of the final decay.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_wsd_decay_samples, "WSD: the same in sequences.").at_least(0);
  CONCLAVE_OPTION(optimizer, lr_wsd_decay_style, "WSD: shape of the final decay.")
      .one_of({"exponential", "linear", "cosine", "minus_sqrt"});
  CONCLAVE_OPTION(optimizer, decoupled_lr, "Learning rate of embedding and output layer.").at_least(0);
  CONCLAVE_OPTION(optimizer, decoupled_min_lr, "Smallest learning rate of embedding and output layer.").at_least(0);
  CONCLAVE_OPTION(optimizer, override_opt_param_scheduler,
                  "On resume the options' schedule wins; without this and the next a difference is an error.");
  CONCLAVE_OPTION(optimizer, use_checkpoint_opt_param_scheduler, "On resume the checkpoint's schedule wins.");
}

}  // namespace

void add_optimizer_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kOptimizer;
  add_update(rows);
  add_learning_rate(rows);
  add_unavailable_rows(rows, group, "other conditions of weight decay",
                       {{"no-weight-decay-cond-type", kString, "", "Which parameters are not decayed."}});
  add_unavailable_rows(rows, group, "Muon and other matrix optimizers",
                       {{"lion-beta1", kFloat, "0.95", "Lion."},
                        {"lion-beta2", kFloat, "0.98", "Lion."},
                        {"muon-coefficient-type", kString, "quintic", "Muon: polynomial of the iteration."},
                        {"muon-extra-scale-factor", kFloat, "1.0", "Muon: factor on the update."},
                        {"muon-fp32-matmul-prec", kString, "medium", "Muon: precision of the iteration."},
                        {"muon-momentum", kFloat, "0.9", "Muon: momentum."},
                        {"muon-nesterov", kFlag, "", "Muon: look ahead."},
                        {"muon-num-ns-steps", kInt, "5", "Muon: iterations."},
                        {"muon-scalar-optimizer", kString, "adam", "Muon: the rule for vectors."},
                        {"muon-scale-mode", kString, "spectral", "Muon: scale of the update."},
                        {"muon-split-qkv", kFlag, "true", "Muon: q, k and v apart.", "muon-no-split-qkv"},
                        {"muon-tp-mode", kString, "duplicated", "Muon: what tensor-parallel ranks share."},
                        {"muon-use-syrk", kFlag, "", "Muon: symmetric products."},
                        {"qk-clip", kFlag, "", "Shrink q and k when attention logits grow."},
                        {"qk-clip-alpha", kFloat, "0.5", "Share of the shrinking that q takes."},
                        {"qk-clip-threshold", kFloat, "100", "Largest attention logit."}});
  add_unavailable_rows(rows, group, "maximal update parametrisation",
                       {{"use-mup", kFlag, "", "Scale by width."},
                        {"mup-attn-scale-power", kFloat, "1.0", "Scale of attention."},
                        {"mup-base-head-dim", kFloat, "", "Head size of the base model."},
                        {"mup-base-hidden-size", kInt, "", "Width of the base model."},
                        {"mup-embedding-mult", kFloat, "1.0", "Factor on the embedding."},
                        {"mup-output-mult", kFloat, "1.0", "Factor on the logits."},
                        {"mup-width-mult", kFloat, "1.0", "Width relative to the base model."}});
  add_unavailable_rows(rows, group, "a name of old scripts; use --lr-warmup-fraction",
                       {{"warmup", kInt, "", "Percent of warm-up in old scripts."}});
  add_unavailable_rows(rows, group, "other optimizer tools",
                       {{"dump-param-to-param-group-map", kString, "", "Write which parameter is in which group."},
                        {"head-lr-mult", kFloat, "1.0", "Factor on a head's learning rate."}});
}

}  // namespace conclave
