#include "trainer/training_run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/signal.h"
#include "config/options_text.h"
#include "config/resolve.h"
#include "config/validate.h"
#include "trainer/agreement.h"
#include "trainer/fault_finder.h"
#include "trainer/hf_model.h"
#include "trainer/layer_statistics.h"
#include "trainer/schedule_resume.h"

namespace conclave {
namespace {

int64_t data_rank(const ProcessGroups& groups) { return groups.layout().dense(groups.rank()).data; }

// Takes part in a pass without counting for anything.
MicroBatch empty_batch(int64_t seq_length) {
  MicroBatch batch = plain_batch(1, seq_length, 0);
  std::fill(batch.loss_mask.begin(), batch.loss_mask.end(), 0.0f);
  return batch;
}

bool pretends(const Options& options) { return options.parallel.fake_process_group; }
bool saves(const Options& options) { return options.checkpoint.save.has_value(); }

// What has to look inside this step, if anything.
std::optional<LayerStatistics::Detail> statistics_wanted(const LoggingOptions& logging, int64_t iteration) {
  const int64_t interval = logging.log_layer_stats_interval;
  if (interval > 0 && iteration % interval == 0) return LayerStatistics::Detail::kAll;
  if (logging.log_max_attention_logit) return LayerStatistics::Detail::kAttentionLogits;
  return std::nullopt;
}

}  // namespace

SuspectStep::SuspectStep(const char* what, double found, double limit)
    : Error(fmt::format("{}: {:.6g}, at least {} times the largest of the first {} good steps ({:.6g})", what, found,
                        JumpCheck::kFactor, JumpCheck::kSamples, limit / JumpCheck::kFactor)),
      kind(what),
      value(found) {}

TrainingRun::TrainingRun(const ParsedOptions& parsed, World& world)
    : parsed_(parsed), options_(checked_options(parsed, Command::kTrain)), world_(world) {
  if (const std::string inactive = inactive_summary(parsed); !inactive.empty()) log_info("{}", inactive);
  for (const std::string& warning : option_warnings(options_)) log_warning("{}", warning);
  device_ = make_device(options_.device.device);
  if (pretends(options_)) device_->allocator().set_name_tracking(true);
  groups_ = make_job_groups(options_, world);
  // Of a pretended rank's tokenizer the size alone counts.
  if (!pretends(options_) || options_.model.vocab_size == 0)
    tokenizer_ = make_run_tokenizer(options_.tokenizer, options_.model.vocab_size);
  const int64_t vocab = run_vocab_size(options_, tokenizer_.get());
  rates_ = std::make_unique<RateSchedule>(options_);
  batches_ = std::make_unique<BatchSchedule>(options_.training, data_parallel_size(options_.parallel),
                                             options_.model.seq_length);
  engine_ = std::make_unique<Engine>(options_, vocab, *device_, true, *groups_);
  state_.run_id = new_run_id();
  load();
  if (saves(options_)) {
    CheckpointWriterSettings settings;
    settings.run_directory = *options_.checkpoint.save;
    settings.mode = options_.checkpoint.async_save ? SaveMode::kBackground : SaveMode::kNow;
    settings.retention = {options_.checkpoint.save_retain_interval, options_.checkpoint.keep_last};
    writer_ = std::make_unique<CheckpointWriter>(settings, world_.all(), device_->default_stream());
  }
  log_ =
      std::make_unique<RunLog>(options_, engine_->spec(), *device_, state_, world_.rank() == 0 && !pretends(options_));
  if (loaded_from_) log_->loaded(state_.iteration, *loaded_from_);
  timer_ = std::make_unique<StepTimer>(*engine_, options_.logging.timing_log_level);
  rejections_ = std::make_unique<RejectionTracker>(options_.training.result_rejected_tracker_filename, state_.run_id);
  if (!device_->is_sim()) open_data();
  first_iteration_ = state_.iteration;
}

TrainingRun::~TrainingRun() = default;

void TrainingRun::load() {
  const std::optional<LoadPlan> plan = plan_load(options_.checkpoint);
  if (!pretends(options_)) {
    Json found = Json::object();
    found["checkpoint"] = plan ? Json(std::filesystem::path(plan->location.directory).filename().string()) : Json();
    check_ranks_agree(world_, "finds another checkpoint", found);
  }
  if (!plan) {
    if (options_.checkpoint.load_hf) load_hugging_face();
    return;
  }
  const CheckpointReader reader(plan->location.directory);
  // A model that was converted or upcycled has no run behind it.
  const bool fresh = plan->fresh_run || !reader.state().contains("run");
  load_engine(*engine_, plan->location.directory, plan->optimizer && !fresh, world_.all());
  origin_ = find_origin(reader.state());
  if (saves(options_) && world_.rank() == 0) {
    const std::filesystem::path run = std::filesystem::path(plan->location.directory).parent_path();
    keep_side_files((run / kHuggingFaceFolder).string(), *options_.checkpoint.save);
  }
  loaded_from_ = plan->location.directory;
  if (fresh) {
    log_info("weights from '{}'; a new run begins", plan->location.directory);
    return;
  }
  state_ = RunState::from_json(reader.state().at("run"));
  if (const Json* schedule = reader.state().find("schedule"))
    rates_ =
        std::make_unique<RateSchedule>(options_, resumed_schedule(rates_->config(), *schedule, options_.optimizer));
  last_saved_ = state_.iteration;
  log_info("continuing at iteration {} ({} samples) from '{}'", state_.iteration, state_.consumed_samples,
           plan->location.directory);
}

void TrainingRun::load_hugging_face() {
  const HuggingFaceWeights weights(*options_.checkpoint.load_hf);
  load_engine(*engine_, weights);
  origin_ = origin_of(weights);
  if (saves(options_)) keep_side_files(weights.directory().path(), *options_.checkpoint.save);
  log_info("weights from '{}' ({}); a new run begins", weights.directory().path(), weights.family().model_type);
}

void TrainingRun::open_data() {
  source_ =
      std::make_unique<BatchSource>(run_batch_config(options_, tokenizer_.get(), engine_->spec().vocab), state_.data);
  check_ranks_agree(world_, "has other data", comparable_data(*source_, state_.consumed_samples));
  stream_ = source_->stream(Split::kTrain, {.micro_batch_size = options_.training.micro_batch_size,
                                            .data_parallel_rank = data_rank(*groups_),
                                            .data_parallel_size = groups_->layout().data_size(),
                                            .consumed_samples = state_.consumed_samples,
                                            .workers = options_.data.num_workers});
}

std::vector<MicroBatch> TrainingRun::next_batches(int64_t global_batch_size) {
  const int64_t micro = options_.training.micro_batch_size, ranks = groups_->layout().data_size();
  std::vector<MicroBatch> out;
  for (int64_t i = 0; i < global_batch_size / (micro * ranks); ++i) {
    if (device_->is_sim()) {
      const int64_t first = state_.consumed_samples + (i * ranks + data_rank(*groups_)) * micro;
      out.push_back(plain_batch(micro, options_.model.seq_length, first));
      continue;
    }
    std::optional<MicroBatch> next = stream_->next();
    CONCLAVE_USER_CHECK(next.has_value() && next->batch == micro,
                        "the training data end at iteration {}; give more data or fewer --train-iters",
                        state_.iteration + 1);
    out.push_back(std::move(*next));
  }
  return out;
}

ExitCode TrainingRun::run() {
  const StopSignals signals;
  try {
    while (!ends()) {
      train_iteration();
      evaluate_if_due();
      save_if_due();
    }
    finish();
  } catch (const ExitRequest& rejected) {
    log_->event("rejected result", rejected.what());
    if (writer_) writer_->finish();
    throw;
  }
  return ExitCode::kDone;
}

bool TrainingRun::skips(int64_t iteration) const {
  const auto has = [&](const std::vector<int64_t>& listed) {
    return std::find(listed.begin(), listed.end(), iteration) != listed.end();
  };
  return has(options_.training.iterations_to_skip) || has(rejections_->iterations_to_skip());
}

StepRequest TrainingRun::request() {
  StepRequest request;
  request.iteration = state_.iteration + 1;
  request.rates = rates_->at(state_.scheduler_samples, state_.updates + 1);
  request.clip = options_.optimizer.clip_grad;
  request.check_finite = options_.training.check_for_nan_in_loss_and_grad && !device_->is_sim();
  request.count_zeros = options_.logging.log_num_zeros_in_grad;
  request.weight_norm = options_.logging.log_params_norm;
  if (watching_ != nullptr) request.on_gradients = [this] { watching_->see_gradients(); };
  if (!device_->is_sim()) request.check = [this](double loss, double norm) { check_jump(loss, norm); };
  return request;
}

// So that after the run they tell what its last step did.
void TrainingRun::forget_earlier_steps() {
  device_->ledger().reset();
  for (const auto& group : world_.groups()) group->traffic().reset();
}

void TrainingRun::train_iteration() {
  if (pretends(options_)) forget_earlier_steps();
  const int64_t batch_size = batches_->at(state_.consumed_samples).running;
  const int64_t iteration = state_.iteration + 1;
  Stopwatch watch;
  const std::vector<MicroBatch> batches = next_batches(batch_size);
  timer_->add_batch_generator(watch.seconds());
  StepLog entry;
  entry.iteration = iteration;
  entry.global_batch_size = batch_size;
  if (skips(iteration)) {
    entry.skipped = true;
    ++state_.skipped;
  } else {
    train_on(batches, &entry);
    state_.scheduler_samples += batch_size;
    state_.updates += 1;
  }
  state_.iteration = iteration;
  state_.consumed_samples += batch_size;
  if (source_) state_.data = source_->position(state_.consumed_samples);
  entry.consumed_samples = state_.consumed_samples;
  entry.learning_rate = rates_->at(state_.scheduler_samples, state_.updates + 1).lr;
  entry.seconds = watch.seconds();
  entry.times = timer_->take();
  log_->step(entry, *engine_);
  if (writer_) {
    for (const SaveReport& report : writer_->poll()) log_->saved(report);
  }
}

void TrainingRun::train_on(const std::vector<MicroBatch>& batches, StepLog* entry) {
  std::optional<LayerStatistics> statistics;
  const auto detail = statistics_wanted(options_.logging, entry->iteration);
  if (detail) watching_ = &statistics.emplace(*engine_, *detail);
  entry->result = checked_step(batches);
  watching_ = nullptr;
  state_.losses.learn(entry->result.lm_loss());
  state_.gradients.learn(entry->result.gradient_norm);
  if (!statistics) return;
  if (options_.logging.log_max_attention_logit) entry->max_attention_logit = statistics->largest_attention_logit();
  if (detail == LayerStatistics::Detail::kAll) entry->layer_statistics = statistics->take();
}

// Every step twice, the first time up to the update; nothing is rejected.
StepResult TrainingRun::step_twice(const std::vector<MicroBatch>& batches) {
  struct Seen {
    double loss, gradient_norm;
  };
  StepRequest step = request();
  step.check_finite = false;
  step.check = [](double loss, double norm) { throw Seen{loss, norm}; };
  try {
    return engine_->train_step(batches, step);
  } catch (const Seen& first) {
    step.check = nullptr;
    const StepResult again = engine_->train_step(batches, step);
    repeats_.add(first.loss, again.lm_loss());
    repeats_.add(first.gradient_norm, again.gradient_norm);
    return again;
  }
}

StepResult TrainingRun::checked_step(const std::vector<MicroBatch>& batches) {
  if (options_.training.rerun_mode == "report_stats" && !device_->is_sim()) return step_twice(batches);
  try {
    return engine_->train_step(batches, request());
  } catch (const SuspectStep& first) {
    return repeat_suspect(batches, first);
  } catch (const NonFiniteStep& first) {
    if (options_.training.rerun_mode == "disabled") {
      if (world_.rank() == 0)
        rejections_->add(state_.iteration + 1, "not finite", first.loss_sum, Rejection::kNotRepeated);
      throw UserError(fmt::format(
          "iteration {}: {}; nothing was saved of it (--rerun-mode validate_results finds where it comes from)",
          state_.iteration + 1, first.what()));
    }
    return retry(batches, first);
  }
}

// Runs the step again with somebody looking at every tensor. The same bad result: it is in the data, the weights or the
// program, and the run stops with the place named. A good result: a passing fault of the machine.
StepResult TrainingRun::retry(const std::vector<MicroBatch>& batches, const NonFiniteStep& first) {
  const int64_t iteration = state_.iteration + 1;
  FaultFinder finder(engine_->executor());
  engine_->executor().set_observer(&finder);
  try {
    StepRequest unchecked = request();
    unchecked.check = nullptr;
    const StepResult again = engine_->train_step(batches, unchecked);
    engine_->executor().set_observer(nullptr);
    const std::string text = fmt::format(
        "iteration {}: {} at first, and a sound result when run again with the same data: a passing fault of this "
        "machine",
        iteration, first.what());
    log_warning("{}", text);
    log_->event("passing fault", text);
    if (world_.rank() == 0) rejections_->add(iteration, "not finite", first.loss_sum, Rejection::kPassing);
    return again;
  } catch (const NonFiniteStep& second) {
    engine_->executor().set_observer(nullptr);
    const bool known = state_.failed_iteration == iteration;
    state_.failed_iteration = iteration;
    if (world_.rank() == 0) rejections_->add(iteration, "not finite", second.loss_sum, Rejection::kReproducible);
    const FaultFinder::First fault = finder.first_of_job(world_, device_->default_stream());
    // Every rank says the same, in the name of the one that has it.
    const std::string owner = world_.size() == 1 ? "" : fmt::format("rank {}: ", fault.rank);
    std::string text = fmt::format("{}iteration {}: {}; the same again when run a second time. First bad value: {}",
                                   owner, iteration, second.what(), fault.text);
    if (saves(options_)) {
      save();
      text += fmt::format("; the state before this step is saved in '{}'", *options_.checkpoint.save);
    }
    throw ExitRequest(known ? ExitCode::kValidationFailed : ExitCode::kResumeToDisambiguate, text);
  }
}

void TrainingRun::check_jump(double loss, double gradient_norm) const {
  if (options_.training.check_for_spiky_loss && state_.losses.jumps(loss))
    throw SuspectStep("loss spike", loss, state_.losses.limit());
  if (options_.training.check_for_large_grads && state_.gradients.jumps(gradient_norm))
    throw SuspectStep("large gradients", gradient_norm, state_.gradients.limit());
}

void TrainingRun::tell_rejected(const SuspectStep& suspect, Rejection rejection, const std::string& text) {
  const std::string whole = fmt::format("iteration {}: {}; {}", state_.iteration + 1, suspect.what(), text);
  log_warning("{}", whole);
  log_->event(suspect.kind, whole);
  if (world_.rank() == 0) rejections_->add(state_.iteration + 1, suspect.kind, suspect.value, rejection);
}

// A jump ends no run: it is told, and told apart from a fault of the machine by running the step a second time.
StepResult TrainingRun::repeat_suspect(const std::vector<MicroBatch>& batches, const SuspectStep& first) {
  StepRequest again = request();
  again.check = nullptr;
  try {
    const StepResult result = engine_->train_step(batches, again);
    const bool spike = std::string_view(first.kind) == "loss spike";
    if (options_.training.rerun_mode == "disabled") {
      tell_rejected(first, Rejection::kNotRepeated, "the run goes on");
    } else if ((spike ? result.lm_loss() : result.gradient_norm) == first.value) {
      tell_rejected(
          first, Rejection::kReproducible,
          "the same again when run a second time, so it comes from the data and the weights; the run goes on");
    } else {
      tell_rejected(first, Rejection::kPassing,
                    fmt::format("{:.6g} when run again with the same data: a passing fault of this machine",
                                spike ? result.lm_loss() : result.gradient_norm));
    }
    return result;
  } catch (const NonFiniteStep& worse) {
    return retry(batches, worse);
  }
}

void TrainingRun::evaluate(Split split, int64_t round) {
  if (source_ == nullptr || !source_->has(split)) return;
  const TrainingOptions& training = options_.training;
  const int64_t per_round = training.eval_iters * training.eval_global_batch_size;
  const bool whole = training.full_validation && split == Split::kValid;
  const int64_t ranks = groups_->layout().data_size();
  const auto stream = source_->stream(split, {.micro_batch_size = training.eval_micro_batch_size,
                                              .data_parallel_rank = data_rank(*groups_),
                                              .data_parallel_size = ranks,
                                              .consumed_samples = whole ? 0 : round * per_round,
                                              .drop_last = !whole,
                                              .workers = options_.data.num_workers});
  EvaluationSum total;
  int64_t samples = 0;
  while (whole || samples < per_round) {
    const std::optional<MicroBatch> batch = stream->next();
    const bool some = batch && batch->batch > 0;
    // The last slice of a whole split can be empty on some ranks.
    if (largest_over_job(some ? 1 : 0) == 0) break;
    const EvaluationSum part = engine_->evaluate(some ? *batch : empty_batch(options_.model.seq_length));
    total.loss_sum += part.loss_sum;
    total.tokens += part.tokens;
    samples += training.eval_micro_batch_size * ranks;
    log_->evaluating(split, samples, whole ? 0 : per_round);
  }
  log_->evaluated(state_.iteration, split, total.loss_sum / std::max(total.tokens, 1.0));
}

void TrainingRun::evaluate_if_due() {
  const TrainingOptions& training = options_.training;
  if (training.eval_interval <= 0 || training.eval_iters <= 0 || state_.iteration % training.eval_interval != 0) return;
  if (state_.iteration < training.start_eval_at_iter ||
      (training.train_iters > 0 && state_.iteration >= training.train_iters))
    return;
  evaluate(Split::kValid, (state_.iteration - training.start_eval_at_iter) / training.eval_interval - 1);
}

void TrainingRun::save_if_due() {
  const int64_t interval = options_.checkpoint.save_interval;
  if (writer_ && interval > 0 && state_.iteration % interval == 0) save();
  const int64_t exports = options_.checkpoint.save_hf_interval;
  if (writer_ && exports > 0 && state_.iteration % exports == 0) {
    export_live_model(*engine_, world_.all(),
                      {*options_.checkpoint.save, state_.iteration, checkpoint_state(), options_.convert});
  }
}

Json TrainingRun::checkpoint_state() const {
  Json json = Json::object();
  json["run"] = state_.to_json();
  json["options"] = options_to_json(options_);
  json["schedule"] = schedule_json(rates_->config());
  json["vocab_size"] = engine_->spec().vocab;
  if (origin_) json[kOriginKey] = origin_->to_json();
  return json;
}

void TrainingRun::save() {
  if (last_saved_ == state_.iteration && state_.failed_iteration == 0) return;
  log_->flush();
  const double stall = writer_->save(state_.iteration, checkpoint_tensors(*engine_, !options_.checkpoint.no_save_optim),
                                     checkpoint_state());
  last_saved_ = state_.iteration;
  log_->save_begun(state_.iteration, stall);
  for (const SaveReport& report : writer_->poll()) log_->saved(report);
}

std::optional<std::string> TrainingRun::own_end_reason() const {
  const TrainingOptions& training = options_.training;
  if (stop_signal() != 0) return "asked to stop";
  if (training.train_samples > 0 ? state_.consumed_samples >= training.train_samples
                                 : state_.iteration >= training.train_iters)
    return "done";
  if (training.skip_train) return "--skip-train";
  if (training.exit_interval > 0 && state_.iteration > 0 && state_.iteration % training.exit_interval == 0 &&
      state_.iteration != first_iteration_) {
    return fmt::format("--exit-interval {}", training.exit_interval);
  }
  if (training.exit_duration_in_mins > 0 &&
      since_start_.seconds() >= 60.0 * static_cast<double>(training.exit_duration_in_mins)) {
    return fmt::format("--exit-duration-in-mins {}", training.exit_duration_in_mins);
  }
  return std::nullopt;
}

int64_t TrainingRun::largest_over_job(int64_t value) const {
  if (world_.size() == 1 || device_->is_sim()) return value;
  const Tensor x =
      from_host<int64_t>(*device_, {1}, std::vector<int64_t>{value}, {MemoryCategory::kWorkspace, "votes"});
  world_.all().all_reduce(device_->default_stream(), x, ReduceOp::kMax, "votes");
  return to_host<int64_t>(device_->default_stream(), x)[0];
}

// A signal or the clock may reach one rank before another: all go by the first.
bool TrainingRun::ends() {
  const std::optional<std::string> own = own_end_reason();
  if (largest_over_job(own ? 1 : 0) == 0) return false;
  end_reason_ = own.value_or("another rank was asked to stop");
  return true;
}

void TrainingRun::finish() {
  const std::string reason = *end_reason_;
  const bool complete = reason == "done" || reason == "--skip-train";
  if (!pretends(options_)) log_->end_of_training(reason);
  if (!repeats_.empty()) {
    log_info("{}", repeats_.text());
    log_->event("determinism", repeats_.text());
  }
  if (complete && options_.training.eval_iters > 0) {
    const TrainingOptions& training = options_.training;
    // The round after those that ran during training.
    const int64_t since = state_.iteration - training.start_eval_at_iter;
    const int64_t round = training.eval_interval > 0 && since > 0 ? (since - 1) / training.eval_interval : 0;
    evaluate(Split::kValid, round);
    evaluate(Split::kTest, 0);
  }
  if (writer_ && !options_.training.skip_train) {
    save();
    for (const SaveReport& report : writer_->finish()) log_->saved(report);
  }
  log_->finish(reason);
}

}  // namespace conclave
