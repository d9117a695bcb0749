#include "config/table/rows.h"

namespace conclave {
namespace {

void add_lines(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kLogging;
  CONCLAVE_OPTION(logging, log_interval, "Steps between log lines.").at_least(1);
  CONCLAVE_OPTION(logging, log_throughput, "TFLOP/s is always in the log line.").not_active();
  CONCLAVE_OPTION(logging, log_num_zeros_in_grad, "Zeros of the gradient in the log line.");
  CONCLAVE_OPTION(logging, log_params_norm, "Norm of the weights in the log line.");
  CONCLAVE_OPTION(logging, log_max_attention_logit, "Largest attention logit in the log line.");
  CONCLAVE_OPTION(logging, log_layer_stats_interval,
                  "Steps between norms of each layer's gradients, weights and activations; 0: never.")
      .at_least(0);
  CONCLAVE_OPTION(logging, tensorboard_dir, "Folder of TensorBoard files. Default: tensorboard/ in --save.");
  CONCLAVE_OPTION(logging, tensorboard_log_interval, "Steps between TensorBoard points.").at_least(1);
  CONCLAVE_OPTION(logging, log_memory_to_tensorboard, "Memory in TensorBoard.");
  CONCLAVE_OPTION(logging, log_memory_interval, "Steps between tables of memory by category; 0: never.").at_least(0);
  CONCLAVE_OPTION(logging, log_timers_to_tensorboard, "The times of --timing-log-level in TensorBoard.");
  CONCLAVE_OPTION(logging, log_validation_ppl_to_tensorboard, "Perplexity in TensorBoard.");
  CONCLAVE_OPTION(logging, log_world_size_to_tensorboard, "Number of ranks in TensorBoard.");
  CONCLAVE_OPTION(logging, log_progress, "A file progress.txt in --save: starts, checkpoints, speed, tokens so far.");
  CONCLAVE_OPTION(logging, timing_log_level,
                  "Times of a step in the log. 1: forward-backward, optimizer; 2: their parts.")
      .between(0, 2);
  CONCLAVE_OPTION(logging, timing_log_option, "How these times are shown: over ranks, or of each rank.")
      .one_of({"max", "minmax", "all"});
  CONCLAVE_OPTION(logging, progress, "A live bar on a terminal, or plain lines.")
      .one_of({"auto", "bar", "plain", "off"});
  CONCLAVE_OPTION(logging, log_level, "Least important messages shown.").one_of({"debug", "info", "warning", "error"});
}

void add_names(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kLogging;
  add_not_active_rows(rows, group,
                      {{"app-tag-run-name", kString, "", "A name for another package's log."},
                       {"app-tag-run-version", kString, "0.0.0", "A name for another package's log."},
                       {"barrier-with-level-1-timing", kFlag, "true", "A wait before timing."},
                       {"disable-straggler-on-startup", kFlag, "", "Another package's watch over slow ranks."},
                       {"enable-one-logger", kFlag, "true", "Another package's log.", "no-one-logger"},
                       {"log-loss-scale-to-tensorboard", kFlag, "true", "There is no loss scale without f16."},
                       {"logging-level", kInt, "", "Python's log level; use --log-level here."},
                       {"memory-snapshot-path", kString, "snapshot.pickle", "Another allocator's history."},
                       {"one-logger-async", kFlag, "", "Another package's log."},
                       {"one-logger-project", kString, "megatron-lm", "Another package's log."},
                       {"one-logger-run-name", kString, "", "Another package's log."},
                       {"profile-ranks", kIntList, "", "Ranks that another profiler watches."},
                       {"profile-step-end", kInt, "12", "Last step that another profiler watches."},
                       {"profile-step-start", kInt, "10", "First step that another profiler watches."},
                       {"straggler-ctrlr-port", kInt, "65535", "Another package's watch over slow ranks."},
                       {"straggler-minmax-count", kInt, "1", "Another package's watch over slow ranks."},
                       {"tensorboard-queue-size", kInt, "1000", "Another writer's buffer."}});
  add_unavailable_rows(rows, group, "profiling",
                       {{"profile", kFlag, "", "Watch some steps with a profiler."},
                        {"nvtx-ranges", kFlag, "", "Names in a GPU profile."},
                        {"pytorch-profiler-collect-callstack", kFlag, "", "Another profiler."},
                        {"pytorch-profiler-collect-chakra", kFlag, "", "Another profiler."},
                        {"pytorch-profiler-collect-shapes", kFlag, "", "Another profiler."},
                        {"record-memory-history", kFlag, "", "History of allocations."},
                        {"record-shapes", kFlag, "", "Shapes in a profile."},
                        {"use-pytorch-profiler", kFlag, "", "Another profiler."},
                        {"log-straggler", kFlag, "", "Report slow ranks."},
                        {"run-workload-inspector-server", kFlag, "", "A server that starts profiles."}});
  add_unavailable_rows(rows, group, "further logs",
                       {{"config-logger-dir", kString, "", "Write another implementation's configuration."},
                        {"log-device-memory-used", kFlag, "", "GPU memory in the log line."},
                        {"log-energy", kFlag, "", "Energy in the log line."},
                        {"otel-enabled", kFlag, "", "Traces for OpenTelemetry."},
                        {"otel-service-name", kString, "", "Traces for OpenTelemetry."},
                        {"otel-span-groups", kString, "", "Traces for OpenTelemetry."},
                        {"wandb-entity", kString, "", "Weights & Biases."},
                        {"wandb-exp-name", kString, "", "Weights & Biases."},
                        {"wandb-project", kString, "", "Weights & Biases."},
                        {"wandb-save-dir", kString, "", "Weights & Biases."}});
}

}  // namespace

void add_logging_rows(OptionRows& rows) {
  add_lines(rows);
  add_names(rows);
}

}  // namespace conclave
