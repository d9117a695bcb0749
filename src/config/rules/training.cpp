#include "base/error.h"
#include "base/text.h"
#include "config/batch_changes.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_required(Rules& rules) {
  if (rules.command != Command::kTrain) return;
  const TrainingOptions& training = rules.raw.training;
  rules.refuse(training.micro_batch_size == 0,
               "--micro-batch-size is required for training; it is not given; add --micro-batch-size N");
  if (training.skip_train) return;
  rules.refuse(training.train_iters == 0 && training.train_samples == 0,
               "the length of training is required; neither --train-iters nor --train-samples is given; add one");
  rules.refuse(!rules.raw.optimizer.lr, "--lr is required for training; it is not given; add --lr X");
}

void check_batches(Rules& rules) {
  const TrainingOptions& training = rules.raw.training;
  const int64_t share = training.micro_batch_size * data_parallel_size(rules.raw.parallel);
  const int64_t batch = training.global_batch_size;
  rules.refuse(
      share > 0 && batch > 0 && !training.decrease_batch_size_if_needed && batch % share != 0,
      "--global-batch-size must be divisible by --micro-batch-size times the data-parallel size; got {} and {}; "
      "change one of them",
      batch, share);
  rules.refuse(share > 0 && batch > 0 && training.decrease_batch_size_if_needed && batch < share,
               "--global-batch-size must be at least --micro-batch-size times the data-parallel size; got {} and {}; "
               "raise it",
               batch, share);
  rules.refuse(training.step_batch_size_schedule && rules.given("global-batch-size") && batch > 0,
               "--step-batch-size-schedule replaces --global-batch-size; both are given; drop the second");
  rules.refuse(training.step_batch_size_schedule && !training.rampup_batch_size.empty(),
               "--step-batch-size-schedule and --rampup-batch-size exclude each other; both are given; drop one");
  if (training.step_batch_size_schedule) {
    try {
      parse_batch_changes(*training.step_batch_size_schedule, rules.raw.model.seq_length);
    } catch (const UserError& error) {
      rules.problems.push_back(error.what());
    }
  }
  const int64_t eval_share = rules.resolved.training.eval_micro_batch_size * data_parallel_size(rules.raw.parallel);
  const int64_t eval_batch = training.eval_global_batch_size;
  rules.refuse(
      eval_batch > 0 && eval_share > 0 && eval_batch % eval_share != 0,
      "--eval-global-batch-size must be divisible by --eval-micro-batch-size times the data-parallel size; got "
      "{} and {}; change one of them",
      eval_batch, eval_share);
  if (training.rampup_batch_size.size() != 3) return;
  const int64_t start = training.rampup_batch_size[0], step = training.rampup_batch_size[1];
  rules.refuse(batch == 0, "--rampup-batch-size needs --global-batch-size; it is not given; add it");
  rules.refuse(start <= 0 || step <= 0,
               "--rampup-batch-size START INCREMENT SAMPLES: start and increment must be above 0; got {} and {}; raise "
               "them",
               start, step);
  rules.refuse(batch > 0 && start > 0 && step > 0 && (start > batch || (batch - start) % step != 0),
               "--rampup-batch-size must reach --global-batch-size in whole increments; got {} + N * {} and {}; change "
               "one of them",
               start, step, batch);
}

}  // namespace

void check_training_rules(Rules& rules) {
  check_required(rules);
  check_batches(rules);
  const TrainingOptions& training = rules.raw.training;
  rules.refuse(training.train_iters > 0 && training.train_samples > 0,
               "--train-iters and --train-samples exclude each other; got {} and {}; drop one", training.train_iters,
               training.train_samples);
  const CheckpointOptions& checkpoint = rules.raw.checkpoint;
  rules.refuse(checkpoint.save_interval > 0 && !checkpoint.save,
               "--save-interval needs --save; it is not given; add --save DIR");
  rules.refuse(rules.raw.logging.log_progress && !checkpoint.save,
               "--log-progress needs --save; it is not given; add --save DIR");
  rules.refuse((checkpoint.save_retain_interval > 0 || checkpoint.keep_last > 0) && !checkpoint.save,
               "--save-retain-interval and --keep-last need --save; it is not given; add --save DIR");
  rules.refuse(checkpoint.save_retain_interval > 0 && checkpoint.save_interval > 0 &&
                   checkpoint.save_retain_interval % checkpoint.save_interval != 0,
               "--save-retain-interval must be a multiple of --save-interval; got {} and {}; change one of them",
               checkpoint.save_retain_interval, checkpoint.save_interval);
  rules.refuse(checkpoint.ckpt_step > 0 && !checkpoint.load,
               "--ckpt-step needs --load; it is not given; add --load DIR");
  rules.refuse(checkpoint.use_checkpoint_args && !checkpoint.load,
               "--use-checkpoint-args needs --load; it is not given; add --load DIR");
  rules.refuse(checkpoint.exit_on_missing_checkpoint && !checkpoint.load,
               "--exit-on-missing-checkpoint needs --load; it is not given; add --load DIR");
}

void check_schedule_rules(Rules& rules) {
  const OptimizerOptions& optimizer = rules.raw.optimizer;
  const TrainingOptions& training = rules.raw.training;
  if (optimizer.lr) {
    rules.refuse(optimizer.min_lr > *optimizer.lr, "--min-lr must be at most --lr; got {} and {}; lower the first",
                 optimizer.min_lr, *optimizer.lr);
    rules.refuse(optimizer.lr_warmup_init > *optimizer.lr,
                 "--lr-warmup-init must be at most --lr; got {} and {}; lower the first", optimizer.lr_warmup_init,
                 *optimizer.lr);
  }
  rules.refuse(optimizer.lr_warmup_fraction && (optimizer.lr_warmup_iters > 0 || optimizer.lr_warmup_samples > 0),
               "--lr-warmup-fraction excludes --lr-warmup-iters and --lr-warmup-samples; got one of them as well; keep "
               "one");
  const bool iterations =
      optimizer.lr_decay_iters > 0 || optimizer.lr_warmup_iters > 0 || optimizer.lr_wsd_decay_iters > 0;
  const bool samples =
      optimizer.lr_decay_samples > 0 || optimizer.lr_warmup_samples > 0 || optimizer.lr_wsd_decay_samples > 0;
  rules.refuse(training.train_iters > 0 && samples,
               "with --train-iters the schedule is given in steps; got --lr-decay-samples, --lr-warmup-samples or "
               "--lr-wsd-decay-samples; use the names with -iters");
  rules.refuse(training.train_samples > 0 && iterations,
               "with --train-samples the schedule is given in sequences; got --lr-decay-iters, --lr-warmup-iters or "
               "--lr-wsd-decay-iters; use the names with -samples");
  const int64_t decay = training.train_iters > 0
                            ? (optimizer.lr_decay_iters > 0 ? optimizer.lr_decay_iters : training.train_iters)
                            : (optimizer.lr_decay_samples > 0 ? optimizer.lr_decay_samples : training.train_samples);
  const int64_t warmup = training.train_iters > 0 ? optimizer.lr_warmup_iters : optimizer.lr_warmup_samples;
  const bool whole = optimizer.lr_warmup_fraction.value_or(0) >= 1;
  rules.refuse(
      decay > 0 && (warmup >= decay || whole),
      "warm-up must be shorter than the decay; got {} and {}; shorten --lr-warmup-{} or lengthen --lr-decay-{}",
      whole ? decay : warmup, decay,
      whole                      ? "fraction"
      : training.train_iters > 0 ? "iters"
                                 : "samples",
      training.train_iters > 0 ? "iters" : "samples");
  rules.refuse(
      optimizer.lr_decay_style == "WSD" && optimizer.lr_wsd_decay_iters == 0 && optimizer.lr_wsd_decay_samples == 0,
      "--lr-decay-style WSD needs --lr-wsd-decay-iters or --lr-wsd-decay-samples; neither is given; add one");
  const bool grows = optimizer.weight_decay_incr_style != "constant";
  const double start = optimizer.start_weight_decay.value_or(optimizer.weight_decay);
  const double end = optimizer.end_weight_decay.value_or(optimizer.weight_decay);
  rules.refuse(
      !grows && (optimizer.start_weight_decay || optimizer.end_weight_decay) && start != end,
      "--weight-decay-incr-style constant has one value; got {} to {}; use --weight-decay, or linear or cosine", start,
      end);
  rules.refuse(grows && (!optimizer.start_weight_decay || !optimizer.end_weight_decay),
               "--weight-decay-incr-style {} needs --start-weight-decay and --end-weight-decay; one is missing; add it",
               optimizer.weight_decay_incr_style);
  rules.refuse(grows && start > end,
               "--end-weight-decay must be at least --start-weight-decay; got {} and {}; swap them", end, start);
  rules.refuse(optimizer.override_opt_param_scheduler && optimizer.use_checkpoint_opt_param_scheduler,
               "--override-opt-param-scheduler and --use-checkpoint-opt-param-scheduler exclude each other; both are "
               "given; drop one");
  rules.refuse(optimizer.decoupled_min_lr && !optimizer.decoupled_lr,
               "--decoupled-min-lr needs --decoupled-lr; it is not given; add it");
}

void check_precision_rules(Rules& rules) {
  const PrecisionOptions& precision = rules.raw.precision;
  const ParallelOptions& parallel = rules.raw.parallel;
  const bool sharded = parallel.use_distributed_optimizer || parallel.use_megatron_fsdp;
  rules.refuse(precision.bf16 && precision.fp16, "--bf16 and --fp16 exclude each other; both are given; drop one");
  rules.refuse(precision.fp8_format && precision.fp4_format,
               "--fp8-format and --fp4-format exclude each other; both are given; drop one");
  rules.refuse(
      precision.grad_reduce_in_bf16 && precision.accumulate_allreduce_grads_in_fp32,
      "--grad-reduce-in-bf16 and --accumulate-allreduce-grads-in-fp32 exclude each other; both are given; drop "
      "one");
  rules.refuse(precision.fp8_param_gather && !precision.fp8_format,
               "--fp8-param-gather needs --fp8-format; it is not given; add it");
  rules.refuse(precision.fp8_param_gather && !sharded,
               "--fp8-param-gather needs --use-distributed-optimizer; it is not given; add it");
  rules.refuse(precision.reuse_grad_buf_for_mxfp8_param_ag && !precision.fp8_param_gather,
               "--reuse-grad-buf-for-mxfp8-param-ag needs --fp8-param-gather; it is not given; add it");
  rules.refuse(
      precision.reuse_grad_buf_for_mxfp8_param_ag && parallel.overlap_param_gather_with_optimizer_step,
      "--reuse-grad-buf-for-mxfp8-param-ag excludes --overlap-param-gather-with-optimizer-step; both are given; "
      "drop one");
  rules.refuse(precision.first_last_layers_bf16 && precision.fp8_format && precision.fp8_recipe == "delayed",
               "--first-last-layers-bf16 excludes --fp8-recipe delayed; both are given; choose another recipe");
  const int64_t layers = rules.raw.model.num_layers / parallel.pipeline_model_parallel_size;
  rules.refuse(precision.first_last_layers_bf16 && layers > 0 &&
                   (precision.num_layers_at_start_in_bf16 > layers || precision.num_layers_at_end_in_bf16 > layers),
               "--num-layers-at-start-in-bf16 and --num-layers-at-end-in-bf16 must be at most the layers of a pipeline "
               "rank; got {}, {} and {}; lower them",
               precision.num_layers_at_start_in_bf16, precision.num_layers_at_end_in_bf16, layers);
  const bool aware = precision.use_precision_aware_optimizer;
  rules.refuse(aware && (rules.raw.optimizer.optimizer != "adam" || !sharded),
               "--use-precision-aware-optimizer needs --optimizer adam and --use-distributed-optimizer; got {}{}; add "
               "them",
               rules.raw.optimizer.optimizer, sharded ? "" : " without it");
  const bool plain = precision.main_grads_dtype == "fp32" && precision.main_params_dtype == "fp32" &&
                     precision.exp_avg_dtype == "fp32" && precision.exp_avg_sq_dtype == "fp32";
  rules.refuse(!aware && !plain,
               "--main-grads-dtype, --main-params-dtype, --exp-avg-dtype and --exp-avg-sq-dtype other than fp32 need "
               "--use-precision-aware-optimizer; it is not given; add it");
}

}  // namespace conclave
