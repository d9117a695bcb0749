// golden/model: whole training steps of small models, against Megatron's own.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "config/resolve.h"
#include "config/validate.h"
#include "optim/lr_schedule.h"
#include "proof/golden/compare.h"
#include "proof/golden/golden.h"
#include "proof/whole_tensors.h"
#include "trainer/engine.h"
#include "trainer/job.h"
#include "trainer/rates.h"

namespace conclave::proof {
namespace {

constexpr double kTolerance = 2e-5;  // of a tensor's largest value, and relative for scalars
constexpr double kBiasTolerance = 1e-6;

// Where a tensor of the file lies in ours: experts stand alone there and are stacked here.
struct Place {
  std::string name;
  std::optional<int64_t> expert;
};

Place place_of(const std::string& golden_name) {
  static const std::string kLocal = ".local_experts.";
  const size_t at = golden_name.find(kLocal);
  if (at == std::string::npos) return {golden_name, std::nullopt};
  const size_t digits = at + kLocal.size(), end = golden_name.find('.', digits);
  return {golden_name.substr(0, at) + golden_name.substr(end), parse_int(golden_name.substr(digits, end - digits))};
}

// Keeps what routers decide, by router and micro-batch.
class RoutingRecorder final : public Observer {
 public:
  struct Decision {
    std::vector<int32_t> experts;
    std::vector<double> probs;
    int64_t choices = 0;
  };
  std::map<std::string, std::vector<Decision>> decisions;

  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override {
    if (where.ends_with(".router.experts")) {
      decisions[where.substr(0, where.size() - 8)].push_back({to_host<int32_t>(stream, tensor), {}, tensor.size(1)});
    } else if (where.ends_with(".router.probs")) {
      std::vector<double>& probs = decisions[where.substr(0, where.size() - 6)].back().probs;
      if (tensor.dtype() == DType::kF64) {
        probs = to_host<double>(stream, tensor);
      } else {
        const std::vector<float> values = to_host<float>(stream, tensor);
        probs.assign(values.begin(), values.end());
      }
    }
  }
};

class ModelCase {
 public:
  ModelCase(const std::string& stem, const std::string& device)
      : json_(Json::parse(read_file(stem + ".json"), stem + ".json")),
        file_(stem + ".safetensors"),
        device_(make_device(device)) {}

  ParsedOptions parsed() const;
  /// What the case needs that is not built; empty if nothing.
  std::string missing() const;
  /// What is wrong first on any rank; empty if nothing. Collective over `world`.
  std::string run(World& world, const ParsedOptions& parsed);

 private:
  Json json_;
  SafetensorsFile file_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ProcessGroups> groups_;
  std::unique_ptr<Engine> engine_;
  Options options_;
  std::string fault_;

  bool alone() const { return groups_->world().size() == 1; }
  WholeTensors stored(const std::string& prefix) const;
  void load_weights();
  std::vector<MicroBatch> batches(int64_t step) const;
  void run_step(int64_t step);
  void compare_results(int64_t step, const StepResult& result, double lr_used, double lr_next);
  void compare_auxiliary(const Json& want, const std::string& what);
  void compare_weights(const std::string& prefix, std::vector<StateTensor> owned, bool gradients);
  void compare_token_losses(int64_t step, const std::vector<float>& got);
  void compare_buffers(int64_t step);
  void compare_routing(int64_t step, const RoutingRecorder& recorder);
  void compare_map(const std::string& what, const SafetensorsEntry& map, const SafetensorsEntry& probs,
                   const std::vector<RoutingRecorder::Decision>& decisions);
  void note(const std::string& text) {
    if (fault_.empty()) fault_ = text;
  }
  void close(const std::string& what, double want, double got) {
    if (!(std::fabs(got - want) <= kTolerance * std::fabs(want) + 1e-12))
      note(fmt::format("{}: want {:.9g}, got {:.9g}", what, want, got));
  }
};

ParsedOptions ModelCase::parsed() const {
  Json given = Json::object();
  for (const auto& [key, value] : json_.at("options").as_object()) {
    if (!value.is_null() && !(value.is_bool() && !value.as_bool())) given[key] = value;
  }
  for (const char* key : {"hidden-dropout", "attention-dropout"}) given[key] = 0.0;
  given["no-bias-gelu-fusion"] = true;
  given["mock-data"] = true;  // the batches come from the case
  return options_from_json(given, "golden case");
}

std::string ModelCase::missing() const {
  const std::vector<std::string> all = unavailable_options(parsed());
  return all.empty() ? "" : all.front();
}

std::string ModelCase::run(World& world, const ParsedOptions& parsed) {
  options_ = checked_options(parsed, Command::kTrain);
  groups_ = make_job_groups(options_, world);
  engine_ = std::make_unique<Engine>(options_, options_.model.vocab_size, *device_, true, *groups_);
  load_weights();
  const int64_t steps = json_.at("steps").as_int();
  for (int64_t step = 1; step <= steps && fault_.empty(); ++step) {
    run_step(step);
    fault_ = first_text(*engine_, fault_);
  }
  if (fault_.empty()) compare_weights("final.", engine_->store().owned_state(), false);
  return first_text(*engine_, fault_);
}

/// The tensors of the file under our names, experts stacked.
WholeTensors ModelCase::stored(const std::string& prefix) const {
  WholeTensors out;
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    const Place place = place_of(entry.name.substr(prefix.size()));
    const std::vector<float> values = entry.to_vector<float>();
    const size_t begin = static_cast<size_t>(place.expert.value_or(0)) * values.size();
    std::vector<float>& whole = out[place.name];
    whole.resize(std::max(whole.size(), begin + values.size()));
    std::copy(values.begin(), values.end(), whole.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return out;
}

void ModelCase::load_weights() {
  const WholeTensors initial = stored("init.");
  for (const StateTensor& state : engine_->store().state()) {
    if (state.optimizer) continue;
    const auto found = initial.find(state.name);
    CONCLAVE_USER_CHECK(found != initial.end(), "the case gives no weight '{}'", state.name);
    fill_part(*engine_, state, found->second);
  }
  engine_->store().weights_changed(device_->default_stream());
}

std::vector<MicroBatch> ModelCase::batches(int64_t step) const {
  const int64_t count = json_.at("num-microbatches").as_int(), ranks = groups_->layout().data_size();
  const int64_t batch = options_.training.micro_batch_size, sequence = options_.model.seq_length;
  const std::vector<int32_t> tokens = file_.at("tokens").to_vector<int32_t>(),
                             labels = file_.at("labels").to_vector<int32_t>();
  const std::vector<float> mask = file_.at("loss_mask").to_vector<float>();
  std::vector<MicroBatch> out;
  for (int64_t m = groups_->layout().dense(groups_->rank()).data; m < count; m += ranks) {
    MicroBatch host = plain_batch(batch, sequence, ((step - 1) * count + m) * batch);
    const auto begin = static_cast<std::ptrdiff_t>(((step - 1) * count + m) * batch * sequence),
               length = static_cast<std::ptrdiff_t>(batch * sequence);
    host.tokens.assign(tokens.begin() + begin, tokens.begin() + begin + length);
    host.labels.assign(labels.begin() + begin, labels.begin() + begin + length);
    host.loss_mask.assign(mask.begin() + begin, mask.begin() + begin + length);
    out.push_back(std::move(host));
  }
  return out;
}

void ModelCase::run_step(int64_t step) {
  const std::vector<MicroBatch> micro_batches = batches(step);
  const RateSchedule schedule(options_);
  const int64_t samples = (step - 1) * options_.training.global_batch_size;
  StepRequest request;
  request.rates = schedule.at(samples, step);
  request.clip = options_.optimizer.clip_grad;
  if (step == 1) {
    request.on_gradients = [this] { compare_weights("grad.", engine_->store().owned_gradients(), true); };
  }
  RoutingRecorder recorder;
  engine_->executor().set_observer(&recorder);
  std::vector<float> token_losses;
  const int64_t batch = options_.training.micro_batch_size, sequence = options_.model.seq_length;
  engine_->on_token_losses([&](int64_t, const Tensor& losses) {
    const std::vector<float> values = to_host<float>(device_->default_stream(), losses);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t s = 0; s < sequence; ++s) token_losses.push_back(values[static_cast<size_t>(s * batch + b)]);
    }
  });
  const StepResult result = engine_->train_step(micro_batches, request);
  engine_->on_token_losses(nullptr);
  engine_->executor().set_observer(nullptr);
  compare_results(step, result, request.rates.lr, schedule.at(samples + options_.training.global_batch_size, step).lr);
  if (alone()) {  // every token is here
    compare_token_losses(step, token_losses);
    compare_routing(step, recorder);
  }
  compare_buffers(step);
}

void ModelCase::compare_token_losses(int64_t step, const std::vector<float>& got) {
  const std::string key = fmt::format("token_loss.{}", step);
  if (const std::string text = off_by(key, file_.at(key).to_vector<float>(), got, {kTolerance}); !text.empty())
    note(text);
}

void ModelCase::compare_buffers(int64_t step) {
  for (const BufferSpec& spec : engine_->store().buffers()) {
    const SafetensorsEntry* want = file_.find(fmt::format("bias.{}.{}", step, spec.name));
    if (want == nullptr) continue;
    const std::vector<float> got = to_host<float>(device_->default_stream(), engine_->store().buffer(spec.name));
    const std::vector<float> expected = want->to_vector<float>();
    for (size_t i = 0; i < got.size(); ++i) {
      if (!(std::fabs(got[i] - expected[i]) <= kBiasTolerance))
        note(fmt::format("{}[{}]: want {}, got {}", want->name, i, expected[i], got[i]));
    }
  }
}

void ModelCase::compare_results(int64_t step, const StepResult& result, double lr_used, double lr_next) {
  const Json& want = json_.at("results").at(static_cast<size_t>(step - 1));
  const std::string at = fmt::format("step {} ", step);
  close(at + "learning-rate used", want.at("learning-rate used").as_double(), lr_used);
  close(at + "learning-rate", want.at("learning-rate").as_double(), lr_next);
  close(at + "lm loss", want.at("lm loss").as_double(), result.lm_loss());
  close(at + "grad-norm", want.at("grad-norm").as_double(), result.gradient_norm);
  for (size_t depth = 0; depth < result.prediction_losses.size(); ++depth) {
    const std::string key = fmt::format("mtp_{} loss", depth + 1);
    close(at + key, want.at(key).as_double(), result.prediction_losses[depth]);
  }
  compare_auxiliary(want, at);
}

void ModelCase::compare_auxiliary(const Json& want, const std::string& at) {
  const RoutingSummary summary = engine_->take_routing();
  const std::map<std::string, double> means = summary.means();
  for (const auto& [name, value] : want.as_object()) {
    if (!name.ends_with("_loss")) continue;
    const auto found = means.find(name);
    // A type named alone, such as seq_aux_loss, is logged beside a zero load_balancing_loss there.
    if (found == means.end() && value.as_double() == 0) continue;
    close(at + name, value.as_double(), found == means.end() ? std::nan("") : found->second);
  }
  const Json* layers = want.find("per layer");
  if (layers == nullptr) return;
  for (const RoutingSummary::Layer& layer : summary.layers) {
    for (const RoutingReport::Loss& loss : layer.report.losses) {
      const std::string key = fmt::format("{}_layer_{}", loss.name, layer.layer);
      close(at + key, layers->at(key).as_double(), RoutingSummary::layer_mean(layer, loss.name));
    }
  }
}

void ModelCase::compare_weights(const std::string& prefix, std::vector<StateTensor> owned, bool gradients) {
  JobTensors job(*engine_, std::move(owned));
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    const Place place = place_of(entry.name.substr(prefix.size()));
    const std::vector<float> want = entry.to_vector<float>();
    const std::vector<float>& whole = job.whole(place.name);
    const size_t begin = static_cast<size_t>(place.expert.value_or(0)) * want.size();
    std::vector<float> got;
    if (begin + want.size() <= whole.size())
      got.assign(whole.begin() + static_cast<std::ptrdiff_t>(begin),
                 whole.begin() + static_cast<std::ptrdiff_t>(begin + want.size()));
    if (const std::string text = off_by(entry.name, want, got, {kTolerance}); !text.empty()) note(text);
    if (!gradients || std::any_of(want.begin(), want.end(), [](float x) { return x != 0; })) continue;
    if (std::any_of(got.begin(), got.end(), [](float x) { return !(x == 0); })) note(entry.name + ": must be zero");
  }
}

void ModelCase::compare_routing(int64_t step, const RoutingRecorder& recorder) {
  const std::string prefix = fmt::format("map.{}.", step);
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    const std::string router = entry.name.substr(prefix.size());
    const auto found = recorder.decisions.find(router);
    if (found == recorder.decisions.end()) {
      note(fmt::format("{}: no router of that name decided anything", entry.name));
      continue;
    }
    compare_map(entry.name, entry, file_.at(fmt::format("probs.{}.{}", step, router)), found->second);
  }
}

void ModelCase::compare_map(const std::string& what, const SafetensorsEntry& map, const SafetensorsEntry& probs,
                            const std::vector<RoutingRecorder::Decision>& decisions) {
  const int64_t tokens = map.shape[1], experts = map.shape[2];
  const std::vector<uint8_t> want_map = map.to_vector<uint8_t>();
  const std::vector<float> want_probs = probs.to_vector<float>();
  std::vector<float> got_probs(want_probs.size(), 0.0f);
  std::vector<uint8_t> got_map(want_map.size(), 0);
  for (size_t m = 0; m < decisions.size(); ++m) {
    const auto& decision = decisions[m];
    for (size_t i = 0; i < decision.experts.size(); ++i) {
      if (decision.experts[i] < 0) continue;
      const size_t at =
          (m * static_cast<size_t>(tokens) + i / static_cast<size_t>(decision.choices)) * static_cast<size_t>(experts) +
          static_cast<size_t>(decision.experts[i]);
      got_map[at] = 1;
      got_probs[at] = static_cast<float>(decision.probs[i]);
    }
  }
  if (const std::string text = off_by("probs of " + what, want_probs, got_probs, {kTolerance}); !text.empty())
    note(text);
  const bool padded = options_.moe.moe_pad_expert_input_to_capacity;
  for (size_t i = 0; i < want_map.size(); ++i) {
    // Rows of weight zero among a padded expert's are an arbitrary choice.
    if (padded ? (want_probs[i] != 0 && got_map[i] != 1) : want_map[i] != got_map[i]) {
      note(fmt::format("{}[{}]: want {}, got {}", what, i, want_map[i], got_map[i]));
      return;
    }
  }
}

/// Why the layout changes the case's numbers by definition; empty if it must reach them: capacity and sinkhorn look at
/// the tokens of one rank, the global loss at how ranks share a step's micro-batches.
std::string depends_on_layout(const ParsedOptions& parsed, const ParallelOptions& layout) {
  const Options options = resolved(parsed.options);
  const int64_t cuts = layout.tensor_model_parallel_size * layout.context_parallel_size;
  const int64_t shares = layout.ranks_as_threads / (cuts * layout.pipeline_model_parallel_size);
  if (options.moe.moe_expert_capacity_factor && cuts > 1) return "capacity";
  for (const std::string& type : options.moe.moe_router_load_balancing_type) {
    if ((type == "sinkhorn" && cuts > 1) || (type == "global_aux_loss" && shares > 1)) return type;
  }
  return "";
}

/// Runs the case in the layout; what is wrong first.
std::string run_case(const std::string& stem, ParsedOptions parsed, const ParsedOptions& layout) {
  parsed.options.parallel = layout.options.parallel;
  parsed.options.device = layout.options.device;
  if (layout.was_given("moe-token-dispatcher-type"))
    parsed.options.moe.moe_token_dispatcher_type = layout.options.moe.moe_token_dispatcher_type;
  std::mutex mutex;
  std::string fault;
  run_job(parsed, [&](World& world, const ParsedOptions& laid_out) {
    const std::string found = ModelCase(stem, laid_out.options.device.device).run(world, laid_out);
    const std::lock_guard lock(mutex);
    fault = found;  // every rank's is the same
    return 0;
  });
  return fault;
}

}  // namespace

std::vector<GoldenReport> golden_model(const std::string& folder, const ParsedOptions& layout) {
  GoldenReport report{.label = "model", .passed = 0, .failed = {}, .not_built = {}};
  for (const std::string& name : case_stems(folder)) {
    try {
      const std::string stem = folder + "/" + name;
      const ModelCase model_case(stem, layout.options.device.device);
      const ParsedOptions parsed = model_case.parsed();
      std::string skipped = model_case.missing();
      if (skipped.empty()) {
        if (const std::string why = depends_on_layout(parsed, layout.options.parallel); !why.empty())
          skipped = fmt::format("{} depends on the layout by definition (docs/layouts.md)", why);
      }
      if (!skipped.empty()) {
        report.not_built.push_back({name, skipped});
        continue;
      }
      const std::string fault = run_case(stem, parsed, layout);
      if (fault.empty()) {
        ++report.passed;
      } else {
        report.failed.push_back({name, fault});
      }
    } catch (const UsageError& error) {
      note_refusal({name, error.what()}, layout, &report);
    } catch (const std::exception& error) {
      report.failed.push_back({name, error.what()});
    }
  }
  return {report};
}

}  // namespace conclave::proof
