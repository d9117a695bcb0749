#include "trainer/run_log.h"

#include <algorithm>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/options_text.h"
#include "kernels/product_ceiling.h"
#include "spec/flops.h"
#include "spec/vocabulary.h"
#include "trainer/iteration_line.h"
#include "trainer/metrics.h"
#include "trainer/progress.h"
#include "trainer/progress_file.h"
#include "trainer/tensorboard.h"

namespace conclave {
namespace {

/// Sums over the steps since something was told last; losses, tokens and FLOPs of those that were not skipped.
struct Interval {
  double loss = 0;
  std::vector<double> prediction_losses;
  int64_t trained = 0, skipped = 0, steps = 0;
  double seconds = 0;
  double tokens = 0, customary_flops = 0, exact_flops = 0;
  NamedTimes times;
  std::optional<double> max_attention_logit;
  RoutingSummary routing;
};

void add_routing(RoutingSummary* sum, const RoutingSummary& more) {
  if (sum->layers.empty()) {
    *sum = more;
    return;
  }
  for (size_t l = 0; l < more.layers.size(); ++l) {
    RoutingReport& to = sum->layers[l].report;
    const RoutingReport& from = more.layers[l].report;
    for (size_t i = 0; i < from.losses.size(); ++i) to.losses[i].sum += from.losses[i].sum;
    for (size_t e = 0; e < from.tokens.size(); ++e) to.tokens[e] += from.tokens[e];
    to.choices += from.choices;
    to.micro_batches += from.micro_batches;
  }
}

std::string load_table(const RoutingSummary& summary) {
  std::string out = fmt::format(" {:>5} {:>8} {:>9} {:>5} {:>9}  {}\n", "layer", "max/mean", "entropy", "dead",
                                "dropped", "share of rows by expert");
  for (const RoutingSummary::Layer& layer : summary.layers) {
    const ExpertLoad load = expert_load(layer.report.tokens);
    double total = 0;
    for (const double tokens : layer.report.tokens) total += tokens;
    const double mean = total / static_cast<double>(std::max<size_t>(layer.report.tokens.size(), 1));
    std::string bars;
    static constexpr const char* kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    for (const double tokens : layer.report.tokens) {
      const double height = mean > 0 ? tokens / mean * 4 : 0;
      bars += tokens == 0 ? "·" : kBars[std::clamp(static_cast<int>(height + 0.5), 1, 8)];
    }
    out += fmt::format(
        " {:>5} {:>8.2f} {:>9.3f} {:>5} {:>8.2f}%  {}\n", layer.layer, load.max_over_mean, load.entropy, load.dead,
        layer.report.choices > 0 ? 100 * layer.report.dropped() / static_cast<double>(layer.report.choices) : 0.0,
        bars);
  }
  return out;
}

std::vector<int64_t> whole(const std::vector<double>& counts) { return {counts.begin(), counts.end()}; }

bool writes_events(const Options& options) { return options.logging.tensorboard_dir || options.checkpoint.save; }

}  // namespace

class RunLog::Implementation {
 public:
  Implementation(const Options& options, const ModelSpec& spec, Device& device, const RunState& state);

  void step(const StepLog& entry, Engine& engine);
  void evaluated(int64_t iteration, Split split, double loss);
  void write(Json record) {
    if (metrics_) metrics_->write(std::move(record));
  }
  void show_progress(const StepLog& entry);
  void show_balance();
  void finish();

  Options options_;
  ModelSpec spec_;
  Device& device_;
  int64_t padded_vocab_;
  std::unique_ptr<MetricsWriter> metrics_;
  std::unique_ptr<EventWriter> events_;
  std::unique_ptr<ProgressFile> progress_file_;
  ProgressDisplay display_;
  Interval lines_, points_;  // what log lines and metrics.jsonl tell, and what TensorBoard gets
  RoutingSummary last_routing_;
  std::vector<std::pair<std::string, double>> evaluations_;
  double ceiling_ = 0;
  double run_seconds_ = 0, run_tokens_ = 0;
  double last_loss_ = 0;

  /// Of all starts of the run, by the samples it consumed.
  RunProgress progress_at(int64_t iteration, int64_t samples) const;
  int64_t consumed_samples_ = 0;
  std::map<int64_t, int64_t> samples_at_save_;  // by iteration

 private:
  void add(const StepLog& entry, Interval* interval) const;
  void tell_line(const StepLog& entry, Engine& engine);
  void tell_points(const StepLog& entry);
  void tell_layers(const StepLog& entry);
  IterationLine line_of(const StepLog& entry, const TrainRecord& record) const;
  TrainRecord record_of(const StepLog& entry, const Interval& interval) const;
};

RunLog::Implementation::Implementation(const Options& options, const ModelSpec& spec, Device& device,
                                       const RunState& state)
    : options_(options),
      spec_(spec),
      device_(device),
      padded_vocab_(padded_vocab_size(spec.vocab, options.model.make_vocab_size_divisible_by,
                                      options.parallel.tensor_model_parallel_size)),
      display_(ProgressDisplay::mode_from_option(options.logging.progress)),
      consumed_samples_(state.consumed_samples) {
  if (device.is_sim()) return;
  if (options.checkpoint.save) {
    make_directories(*options.checkpoint.save);
    Json layout = Json::object();
    layout["tensor"] = options.parallel.tensor_model_parallel_size;
    layout["pipeline"] = options.parallel.pipeline_model_parallel_size;
    layout["context"] = options.parallel.context_parallel_size;
    layout["expert"] = options.parallel.expert_model_parallel_size;
    metrics_ = std::make_unique<MetricsWriter>(
        *options.checkpoint.save + "/metrics.jsonl",
        MetricsWriter::Run{.run_id = state.run_id, .world_size = options.parallel.world_size, .layout = layout});
    write_file_atomically(*options.checkpoint.save + "/options.yaml", options_yaml(options));
    if (options.logging.log_progress) {
      progress_file_ = std::make_unique<ProgressFile>(*options.checkpoint.save + "/progress.txt", state.run_id,
                                                      options.parallel.world_size,
                                                      progress_at(state.iteration, state.consumed_samples));
    }
  }
  if (writes_events(options))
    events_ = std::make_unique<EventWriter>(
        options.logging.tensorboard_dir.value_or(options.checkpoint.save.value_or("") + "/tensorboard"));
}

RunProgress RunLog::Implementation::progress_at(int64_t iteration, int64_t samples) const {
  return {.iteration = iteration,
          .tokens = static_cast<double>(samples * spec_.sequence_length),
          .flops = customary_step_flops(options_, padded_vocab_, {.sequences = samples})};
}

void RunLog::Implementation::add(const StepLog& entry, Interval* interval) const {
  ++interval->steps;
  interval->seconds += entry.seconds;
  interval->times.add(entry.times);
  if (entry.skipped) {
    ++interval->skipped;
    return;
  }
  const auto sequences = entry.global_batch_size;
  ++interval->trained;
  interval->loss += entry.result.lm_loss();
  interval->prediction_losses.resize(entry.result.prediction_losses.size());
  for (size_t i = 0; i < interval->prediction_losses.size(); ++i)
    interval->prediction_losses[i] += entry.result.prediction_losses[i];
  interval->tokens += static_cast<double>(sequences * spec_.sequence_length);
  interval->customary_flops += customary_step_flops(options_, padded_vocab_, {.sequences = sequences});
  const std::vector<int64_t> lengths(static_cast<size_t>(sequences), spec_.sequence_length);
  interval->exact_flops += exact_step_flops(spec_, lengths);
  // Written so that NaN stays.
  const std::optional<double>& logit = entry.max_attention_logit;
  if (logit && !(interval->max_attention_logit && *logit <= *interval->max_attention_logit))
    interval->max_attention_logit = logit;
}

void RunLog::Implementation::step(const StepLog& entry, Engine& engine) {
  add(entry, &lines_);
  if (events_) add(entry, &points_);
  consumed_samples_ = entry.consumed_samples;
  if (!entry.skipped) {
    last_loss_ = entry.result.lm_loss();
    run_seconds_ += entry.seconds;
    run_tokens_ += static_cast<double>(entry.global_batch_size * spec_.sequence_length);
  }
  show_progress(entry);
  tell_layers(entry);
  const LoggingOptions& logging = options_.logging;
  const bool line = entry.iteration % logging.log_interval == 0;
  const bool point = events_ && entry.iteration % logging.tensorboard_log_interval == 0;
  if (line || point) {
    const RoutingSummary routing = engine.take_routing();
    add_routing(&lines_.routing, routing);
    if (events_) add_routing(&points_.routing, routing);
  }
  if (line) tell_line(entry, engine);
  if (point) tell_points(entry);
  if (logging.log_memory_interval > 0 && entry.iteration % logging.log_memory_interval == 0)
    display_.print_line(device_.allocator().report());
}

void RunLog::Implementation::tell_layers(const StepLog& entry) {
  if (entry.layer_statistics.empty()) return;
  Json record = Json::object();
  record["kind"] = "layers";
  record["iteration"] = entry.iteration;
  for (const auto& [name, value] : entry.layer_statistics) {
    record[name] = value;
    if (events_) events_->scalar(name, entry.iteration, value);
  }
  write(record);
}

void RunLog::Implementation::show_progress(const StepLog& entry) {
  ProgressState state;
  state.done = entry.iteration;
  state.total = options_.training.train_iters;
  state.note =
      fmt::format("lm loss {:.4f}, {} tokens/s", last_loss_, human_count(run_tokens_ / std::max(run_seconds_, 1e-9)));
  display_.update(state);
}

TrainRecord RunLog::Implementation::record_of(const StepLog& entry, const Interval& interval) const {
  TrainRecord record;
  record.iteration = entry.iteration;
  record.consumed_samples = entry.consumed_samples;
  if (interval.trained > 0) {
    record.losses.emplace_back("lm_loss", interval.loss / static_cast<double>(interval.trained));
    for (const auto& [name, value] : interval.routing.means()) record.losses.emplace_back(name, value);
    for (size_t i = 0; i < interval.prediction_losses.size(); ++i) {
      record.losses.emplace_back(fmt::format("mtp_{} loss", i + 1),
                                 interval.prediction_losses[i] / static_cast<double>(interval.trained));
    }
    record.grad_norm = entry.result.gradient_norm;
  }
  record.learning_rate = entry.learning_rate;
  record.zeros_in_grad = entry.result.zero_gradients;
  record.params_norm = entry.result.weight_norm;
  record.max_attention_logit = interval.max_attention_logit;
  record.skipped = interval.skipped;
  record.step_ms = 1e3 * interval.seconds / static_cast<double>(interval.steps);
  record.tokens_per_second = interval.tokens / interval.seconds;
  record.tflops = interval.customary_flops / interval.seconds / 1e12;
  record.peak_bytes = device_.allocator().statistics().peak_total;
  return record;
}

IterationLine RunLog::Implementation::line_of(const StepLog& entry, const TrainRecord& record) const {
  IterationLine line;
  line.timestamp = local_timestamp(unix_seconds());
  line.iteration = entry.iteration;
  line.train_iterations = options_.training.train_iters;
  line.consumed_samples = entry.consumed_samples;
  line.step_ms = *record.step_ms;
  line.tflops = record.tflops;
  line.exact_tflops = lines_.exact_flops / lines_.seconds / 1e12;
  if (ceiling_ > 0) line.ceiling_share = *line.exact_tflops * 1e12 / ceiling_;
  line.learning_rate = entry.learning_rate;
  line.global_batch_size = entry.global_batch_size;
  for (const auto& [name, value] : record.losses) line.losses.emplace_back(name == "lm_loss" ? "lm loss" : name, value);
  if (!entry.skipped) line.grad_norm = entry.result.gradient_norm;
  line.zeros_in_gradient = record.zeros_in_grad;
  line.params_norm = record.params_norm;
  line.max_attention_logit = record.max_attention_logit;
  line.skipped_iterations = lines_.skipped;
  return line;
}

void RunLog::Implementation::tell_line(const StepLog& entry, Engine& engine) {
  last_routing_ = lines_.routing;
  if (ceiling_ == 0 && !device_.is_sim())
    ceiling_ = kernels::product_ceiling(device_, engine.store().compute_dtype(), 0.02);
  const TrainRecord record = record_of(entry, lines_);
  display_.print_line(iteration_line_text(line_of(entry, record)));
  show_balance();
  if (options_.logging.timing_log_level > 0) {
    const std::vector<NamedTimes> times = times_of_ranks(engine, lines_.times);
    display_.print_line(times_text(times, lines_.steps, options_.logging.timing_log_option));
  }
  if (metrics_) {
    metrics_->write(record);
    for (const RoutingSummary::Layer& layer : last_routing_.layers)
      metrics_->write(metrics_json_experts(entry.iteration, layer.layer, whole(layer.report.tokens)));
  }
  lines_ = {};
}

void RunLog::Implementation::tell_points(const StepLog& entry) {
  const LoggingOptions& logging = options_.logging;
  write_train_events(*events_, record_of(entry, points_));
  events_->scalar("batch-size", entry.iteration, static_cast<double>(entry.global_batch_size));
  if (logging.log_world_size_to_tensorboard)
    events_->scalar("world-size", entry.iteration, static_cast<double>(options_.parallel.world_size));
  if (logging.log_memory_to_tensorboard)
    write_memory_events(*events_, entry.iteration, device_.allocator().statistics());
  if (logging.log_timers_to_tensorboard) write_time_events(*events_, entry.iteration, points_.times, points_.steps);
  for (const RoutingSummary::Layer& layer : points_.routing.layers) {
    write_expert_events(*events_, entry.iteration, layer.layer, whole(layer.report.tokens));
    if (!options_.moe.moe_per_layer_logging) continue;
    for (const RoutingReport::Loss& loss : layer.report.losses) {
      events_->scalar(fmt::format("moe/{}_layer_{}", loss.name, layer.layer), entry.iteration,
                      RoutingSummary::layer_mean(layer, loss.name));
    }
  }
  points_ = {};
}

// One line on how the worst layer fares; with --moe-per-layer-logging a table of all.
void RunLog::Implementation::show_balance() {
  if (last_routing_.layers.empty() || device_.is_sim()) return;
  if (options_.moe.moe_per_layer_logging) {
    display_.print_line(load_table(last_routing_));
    return;
  }
  const RoutingSummary::Layer* worst = nullptr;
  int64_t dead = 0;
  double dropped = 0, choices = 0;
  for (const RoutingSummary::Layer& layer : last_routing_.layers) {
    const ExpertLoad load = expert_load(layer.report.tokens);
    if (worst == nullptr || load.max_over_mean > expert_load(worst->report.tokens).max_over_mean) worst = &layer;
    dead += load.dead;
    dropped += layer.report.dropped();
    choices += static_cast<double>(layer.report.choices);
  }
  const ExpertLoad load = expert_load(worst->report.tokens);
  display_.print_line(fmt::format(
      " expert load: worst layer {}: max/mean {:.2f}, entropy {:.3f} | dead experts: {} | dropped: {:.2f} %",
      worst->layer, load.max_over_mean, load.entropy, dead, choices > 0 ? 100 * dropped / choices : 0.0));
}

void RunLog::Implementation::evaluated(int64_t iteration, Split split, double loss) {
  const std::string name(split_name(split));
  display_.print_line(validation_line_text(iteration, name, loss));
  write(metrics_json_eval(iteration, name, loss));
  if (events_) {
    write_eval_events(
        *events_, iteration,
        {.split = name, .lm_loss = loss, .with_perplexity = options_.logging.log_validation_ppl_to_tensorboard});
  }
  evaluations_.emplace_back(fmt::format("{} at {}", name, iteration), loss);
}

void RunLog::Implementation::finish() {
  display_.finish();
  if (run_seconds_ <= 0) return;
  std::string table =
      fmt::format("\n {:<28} {}\n {:<28} {:.4f}\n {:<28} {}\n", "trained",
                  human_count(run_tokens_) + " tokens in " + human_seconds(run_seconds_), "last lm loss", last_loss_,
                  "speed", human_count(run_tokens_ / run_seconds_) + " tokens/s");
  const size_t first = evaluations_.size() > 4 ? evaluations_.size() - 4 : 0;
  for (size_t i = first; i < evaluations_.size(); ++i) {
    table += fmt::format(" {:<28} {:.4f} (perplexity {:.2f})\n", evaluations_[i].first + " loss",
                         evaluations_[i].second, perplexity(evaluations_[i].second));
  }
  table += fmt::format(" {:<28} {}\n", "peak memory", human_bytes(device_.allocator().statistics().peak_total));
  if (!last_routing_.layers.empty() && !device_.is_sim()) table += load_table(last_routing_);
  display_.print_line(table);
  if (device_.is_sim()) display_.print_line(device_.allocator().report());
}

RunLog::RunLog(const Options& options, const ModelSpec& spec, Device& device, const RunState& state, bool speaks)
    : log_interval_(options.logging.log_interval),
      points_interval_(writes_events(options) ? options.logging.tensorboard_log_interval : 0),
      implementation_(speaks ? std::make_unique<Implementation>(options, spec, device, state) : nullptr) {}
RunLog::~RunLog() = default;

void RunLog::step(const StepLog& entry, Engine& engine) {
  if (implementation_) return implementation_->step(entry, engine);
  // The one measurement that needs all ranks, at the steps at which rank 0 takes it.
  if (entry.iteration % log_interval_ == 0 || (points_interval_ > 0 && entry.iteration % points_interval_ == 0))
    engine.take_routing();
}

void RunLog::evaluating(Split split, int64_t samples, int64_t of_samples) {
  if (!implementation_) return;
  ProgressState state;
  state.done = samples;
  state.total = of_samples;
  state.unit = fmt::format("{} sample", split_name(split));
  implementation_->display_.update(state);
}

void RunLog::evaluated(int64_t iteration, Split split, double loss) {
  if (!implementation_) return;
  implementation_->evaluated(iteration, split, loss);
}

void RunLog::save_begun(int64_t iteration, double stall_seconds) {
  if (!implementation_) return;
  implementation_->samples_at_save_[iteration] = implementation_->consumed_samples_;
  implementation_->display_.print_line(
      fmt::format(" saving iteration {}: training stood still for {:.3f} s", iteration, stall_seconds));
}

void RunLog::saved(const SaveReport& report) {
  if (!implementation_) return;
  implementation_->display_.print_line(
      fmt::format(" saved {} ({}) in {:.2f} s", report.directory, human_bytes(report.bytes), report.write_seconds));
  Json record = Json::object();
  record["kind"] = "save";
  record["iteration"] = report.iteration;
  record["bytes"] = report.bytes;
  record["stall_seconds"] = report.stall_seconds;
  record["write_seconds"] = report.write_seconds;
  implementation_->write(record);
  if (implementation_->progress_file_)
    implementation_->progress_file_->saved(
        implementation_->progress_at(report.iteration, implementation_->samples_at_save_[report.iteration]));
}

void RunLog::loaded(int64_t iteration, const std::string& directory) {
  if (!implementation_) return;
  Json record = Json::object();
  record["kind"] = "load";
  record["iteration"] = iteration;
  record["directory"] = directory;
  implementation_->write(record);
}

void RunLog::event(const std::string& what, const std::string& text) {
  if (!implementation_) return;
  Json record = Json::object();
  record["kind"] = "event";
  record["what"] = what;
  record["text"] = text;
  implementation_->write(record);
}

void RunLog::flush() {
  if (implementation_ && implementation_->metrics_) implementation_->metrics_->sync();
}

void RunLog::end_of_training(const std::string& reason) {
  if (reason != "done") log_info("training ends: {}", reason);
}

void RunLog::finish(const std::string&) {
  if (implementation_) implementation_->finish();
}

}  // namespace conclave
