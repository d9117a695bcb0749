// golden/model: whole training steps of small models, against Megatron's own.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "config/validate.h"
#include "optim/lr_schedule.h"
#include "proof/golden/compare.h"
#include "proof/golden/golden.h"
#include "trainer/engine.h"
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

  /// What the case needs that is not built; empty if nothing.
  std::string missing() const;
  /// What is wrong first; empty if nothing.
  std::string run();

 private:
  Json json_;
  SafetensorsFile file_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Engine> engine_;
  Options options_;
  std::string fault_;

  ParsedOptions parsed() const;
  void load_weights();
  std::vector<MicroBatch> batches(int64_t step) const;
  void run_step(int64_t step);
  void compare_results(int64_t step, const StepResult& result, double lr_used, double lr_next);
  void compare_auxiliary(const Json& want, const std::string& what);
  void compare_weights(const std::string& prefix, bool gradients);
  void compare_routing(int64_t step, const RoutingRecorder& recorder);
  void compare_map(const std::string& what, const SafetensorsEntry& map, const SafetensorsEntry& probs,
                   const std::vector<RoutingRecorder::Decision>& decisions);
  std::vector<float> ours(const Place& place, bool gradients);
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

std::string ModelCase::run() {
  options_ = checked_options(parsed(), Command::kTrain);
  engine_ = std::make_unique<Engine>(options_, options_.model.vocab_size, *device_, true);
  load_weights();
  const int64_t steps = json_.at("steps").as_int();
  for (int64_t step = 1; step <= steps && fault_.empty(); ++step) run_step(step);
  if (fault_.empty()) compare_weights("final.", false);
  return fault_;
}

void ModelCase::load_weights() {
  const Stream stream = device_->default_stream();
  size_t loaded = 0, needed = 0;
  for (const Parameter* parameter : engine_->store().parameters())
    needed += static_cast<size_t>(parameter->spec.shard.element_count());
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (!entry.name.starts_with("init.")) continue;
    const Place place = place_of(entry.name.substr(5));
    const std::vector<float> values = entry.to_vector<float>();
    const auto& parameters = engine_->store().parameters();
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Parameter* p) { return p->spec.name == place.name; });
    Tensor target =
        found != parameters.end() ? engine_->store().main_weight(**found) : engine_->store().buffer(place.name);
    if (place.expert) target = target[*place.expert];
    if (found != parameters.end()) loaded += values.size();
    copy_from_host<float>(stream, target, values);
  }
  CONCLAVE_USER_CHECK(loaded == needed, "the case gives {} weights, the model has {}", loaded, needed);
  engine_->store().weights_changed(stream);
}

std::vector<MicroBatch> ModelCase::batches(int64_t step) const {
  const int64_t count = json_.at("num-microbatches").as_int();
  const int64_t batch = options_.training.micro_batch_size, sequence = options_.model.seq_length;
  const std::vector<int32_t> tokens = file_.at("tokens").to_vector<int32_t>(),
                             labels = file_.at("labels").to_vector<int32_t>();
  const std::vector<float> mask = file_.at("loss_mask").to_vector<float>();
  std::vector<MicroBatch> out;
  for (int64_t m = 0; m < count; ++m) {
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
  if (step == 1) request.on_gradients = [this] { compare_weights("grad.", true); };
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
  const std::string key = fmt::format("token_loss.{}", step);
  if (const std::string text = off_by(key, file_.at(key).to_vector<float>(), token_losses, {kTolerance}); !text.empty())
    note(text);
  compare_routing(step, recorder);
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

std::vector<float> ModelCase::ours(const Place& place, bool gradients) {
  const auto& parameters = engine_->store().parameters();
  const auto found = std::find_if(parameters.begin(), parameters.end(),
                                  [&](const Parameter* p) { return p->spec.name == place.name; });
  Tensor tensor;
  if (found == parameters.end()) {
    tensor = engine_->store().buffer(place.name);
  } else {
    tensor = gradients ? engine_->store().gradient(**found) : engine_->store().main_weight(**found);
  }
  if (place.expert) tensor = tensor[*place.expert];
  return to_host<float>(device_->default_stream(), tensor);
}

void ModelCase::compare_weights(const std::string& prefix, bool gradients) {
  for (const SafetensorsEntry& entry : file_.entries()) {
    if (!entry.name.starts_with(prefix)) continue;
    const std::vector<float> want = entry.to_vector<float>();
    const std::vector<float> got = ours(place_of(entry.name.substr(prefix.size())), gradients);
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

}  // namespace

std::vector<GoldenReport> golden_model(const std::string& folder, const std::string& device) {
  GoldenReport report{.label = "model", .passed = 0, .failed = {}, .not_built = {}};
  for (const std::string& name : case_stems(folder)) {
    try {
      ModelCase model_case(folder + "/" + name, device);
      if (const std::string missing = model_case.missing(); !missing.empty()) {
        report.not_built.push_back({name, missing});
        continue;
      }
      const std::string fault = model_case.run();
      if (fault.empty()) {
        ++report.passed;
      } else {
        report.failed.push_back({name, fault});
      }
    } catch (const std::exception& error) {
      report.failed.push_back({name, error.what()});
    }
  }
  return {report};
}

}  // namespace conclave::proof
