#include "config/table/rows.h"

namespace conclave {
namespace {

void add_batches(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kTraining;
  CONCLAVE_OPTION(training, micro_batch_size, "Sequences that go through the model at once. Required for training.")
      .at_least(1)
      .alias("batch-size");
  CONCLAVE_OPTION(training, global_batch_size, "Sequences of one step. Default: the micro-batch times the ranks.")
      .at_least(0);
  CONCLAVE_OPTION(training, rampup_batch_size, "START INCREMENT SAMPLES: the batch grows to --global-batch-size.")
      .count(3, 3)
      .at_least(0);
  CONCLAVE_OPTION(training, step_batch_size_schedule,
                  "\"THRESHOLD:SIZE ...\", thresholds in tokens (K, M, B, T), first 0; replaces --global-batch-size.")
      .expression();
  CONCLAVE_OPTION(training, decrease_batch_size_if_needed, "Round the batch down to what the ranks can share.");
  CONCLAVE_OPTION(training, train_iters, "Steps to train.").at_least(0);
  CONCLAVE_OPTION(training, train_samples, "Sequences to train, e.g. 10M; instead of --train-iters.").at_least(0);
  CONCLAVE_OPTION(training, seed, "Seed of everything random.").at_least(1);
  CONCLAVE_OPTION(training, skip_train, "Only evaluate.");
}

void add_evaluation(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kTraining;
  CONCLAVE_OPTION(training, eval_iters, "Steps of one evaluation; 0: none.").at_least(0);
  CONCLAVE_OPTION(training, eval_interval, "Steps between evaluations; 0: only at the end.").at_least(0);
  CONCLAVE_OPTION(training, start_eval_at_iter, "No evaluation before this step.").at_least(0);
  CONCLAVE_OPTION(training, full_validation, "Evaluate on the whole validation set.");
  CONCLAVE_OPTION(training, eval_global_batch_size, "Sequences of an evaluation step. Default: as in training.")
      .at_least(0);
  CONCLAVE_OPTION(training, eval_micro_batch_size, "Micro-batch of an evaluation. Default: as in training.")
      .at_least(0);
}

void add_checks_and_ends(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kTraining;
  CONCLAVE_OPTION(training, check_for_nan_in_loss_and_grad, "Stop at NaN or infinity and say where it began.");
  CONCLAVE_OPTION(training, check_for_spiky_loss,
                  "Repeat and report a step whose loss is 10 times the largest of the first 100.");
  CONCLAVE_OPTION(training, check_for_large_grads, "The same for the norm of the gradient.");
  CONCLAVE_OPTION(training, rerun_mode,
                  "What a rejected step leads to: the end; a second run that finds the cause; report_stats rejects "
                  "nothing, runs every step twice and reports how often the results differ.")
      .one_of({"disabled", "validate_results", "report_stats"});
  CONCLAVE_OPTION(training, iterations_to_skip, "Iterations whose batch is read but not trained on.").at_least(1);
  CONCLAVE_OPTION(training, result_rejected_tracker_filename,
                  "A file of rejected results; iterations rejected in two lives of a run are skipped.");
  CONCLAVE_OPTION(training, exit_interval, "Exit after an iteration divisible by this; 0: never.").at_least(0);
  CONCLAVE_OPTION(training, exit_duration_in_mins, "Save and exit after this many minutes; 0: never.").at_least(0);
  CONCLAVE_OPTION(training, exit_signal_handler, "SIGTERM and SIGINT always finish the step, save, exit with 0.")
      .not_active();
  CONCLAVE_OPTION(training, deterministic_mode, "Results are always deterministic.").not_active();
}

void add_names(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kTraining;
  add_not_active_rows(
      rows, group,
      {{"adlr-autoresume", kFlag, "", "A scheduler of one cluster."},
       {"adlr-autoresume-interval", kInt, "1000", "A scheduler of one cluster."},
       {"calc-ft-timeouts", kFlag, "", "Another package's watch over jobs."},
       {"enable-ft-package", kFlag, "", "Another package's watch over jobs."},
       {"ft-num-warmup-iters", kInt, "5", "Another package's watch over jobs."},
       {"enable-experimental", kFlag, "", "Permits experimental code elsewhere; here each option stands for itself."},
       {"exit-signal-handler-for-dataloader", kFlag, "", "Signals in another implementation's loader processes."},
       {"exit-signal-handler-for-training", kFlag, "", "The handler is on."},
       {"manual-gc", kFlag, "", "Garbage collection of Python."},
       {"manual-gc-eval", kFlag, "true", "Garbage collection of Python."},
       {"manual-gc-interval", kInt, "0", "Garbage collection of Python."},
       {"train-sync-interval", kInt, "", "Steps between waits for the GPU."},
       {"use-gigatoken", kFlag, "", "Choice of a tokenizer's implementation."},
       {"yaml-cfg", kString, "", "Another implementation's configuration file; use --config here."}});
  add_unavailable_rows(rows, group, "other signals",
                       {{"exit-signal", kInt, "15", "Number of the signal that ends a run."}});
  add_unavailable_rows(
      rows, group, "tests of the machine and injected faults",
      {{"check-weight-hash-across-dp-replicas-interval", kInt, "", "Compare weights of data-parallel ranks."},
       {"error-injection-rate", kInt, "0", "Make every N-th result wrong."},
       {"error-injection-type", kString, "transient_error", "Kind of wrong results."},
       {"fault-injector-delay-start-iteration", kInt, "", "When injected faults begin."},
       {"fault-injector-fault-delay", kFloat, "", "Delay of an injected fault."},
       {"fault-injector-fault-probabilities", kString, "", "Chance of each kind of fault."},
       {"fault-injector-fault-types", kString, "", "Kinds of injected faults."},
       {"fault-injector-mtti-seconds", kFloat, "", "Mean time between faults."},
       {"fault-injector-num-ranks", kInt, "", "Ranks that fail."},
       {"fault-injector-offset-seconds", kFloat, "", "Earliest fault."},
       {"fault-injector-ranks", kString, "", "Which ranks fail."},
       {"fault-injector-seed", kInt, "", "Seed of injected faults."},
       {"gpu-sniff-test-interval", kInt, "", "Steps between tests of the GPU."}});
  add_unavailable_rows(rows, group, "restart inside the process",
                       {{"inprocess-active-world-size", kInt, "1", "Ranks at work; the others wait."},
                        {"inprocess-barrier-timeout", kFloat, "120", "A time limit."},
                        {"inprocess-completion-timeout", kFloat, "120", "A time limit."},
                        {"inprocess-empty-cuda-cache", kFlag, "", "Free GPU memory before a restart."},
                        {"inprocess-granularity", kString, "node", "What is replaced."},
                        {"inprocess-hard-timeout", kFloat, "90", "A time limit."},
                        {"inprocess-heartbeat-interval", kFloat, "30", "A time limit."},
                        {"inprocess-heartbeat-timeout", kFloat, "60", "A time limit."},
                        {"inprocess-last-call-wait", kFloat, "1", "A time limit."},
                        {"inprocess-max-iterations", kInt, "", "Most restarts."},
                        {"inprocess-monitor-process-interval", kFloat, "1.0", "A time limit."},
                        {"inprocess-monitor-thread-interval", kFloat, "1.0", "A time limit."},
                        {"inprocess-progress-watchdog-interval", kFloat, "1.0", "A time limit."},
                        {"inprocess-restart", kFlag, "", "Restart without a new process."},
                        {"inprocess-soft-timeout", kFloat, "60", "A time limit."},
                        {"inprocess-termination-grace-time", kFloat, "1", "A time limit."}});
  add_unavailable_rows(rows, group, "training of parts of a model",
                       {{"freeze-all-layers", kFlag, "", "No weight is trained."},
                        {"phase-transition-iterations", kString, "", "Iterations at which the data changes."}});
}

}  // namespace

void add_training_rows(OptionRows& rows) {
  add_batches(rows);
  add_evaluation(rows);
  add_checks_and_ends(rows);
  add_names(rows);
}

}  // namespace conclave
