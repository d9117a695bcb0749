// The golden cases of the router, through the module and its kernels.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "kernels/elementwise.h"
#include "kernels/op_case.h"
#include "moe/router.h"
#include "nn/given_store.h"
#include "proof/golden/case_files.h"
#include "proof/golden/golden.h"
#include "proof/golden/router_case.h"
#include "proof/golden/tensors.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

class KeepEverything final : public SavePolicy {
 public:
  SaveAction action(const char*) const override { return SaveAction::kKeep; }
  bool reruns(const char*) const override { return false; }
};

/// The tensors of a case: the twin that follows our rule for ties where there is one.
class Truth {
 public:
  explicit Truth(const std::string& path) : file_(path) {}
  const SafetensorsEntry* find(const std::string& name) const {
    const SafetensorsEntry* low = file_.find("low." + name);
    return low != nullptr ? low : file_.find(name);
  }
  const SafetensorsEntry& at(const std::string& name) const {
    const SafetensorsEntry* entry = find(name);
    return entry != nullptr ? *entry : file_.at(name);
  }
  const std::vector<SafetensorsEntry>& entries() const { return file_.entries(); }

 private:
  SafetensorsFile file_;
};

/// Everything that one case computed, by the names of the file.
using Results = std::map<std::string, std::vector<double>>;

void expect_results(const Truth& truth, const Results& results, const std::vector<std::string>& inputs,
                    const std::function<double(const std::string& name, const SafetensorsEntry& entry)>& tolerance) {
  for (const SafetensorsEntry& entry : truth.entries()) {
    if (entry.name.starts_with("low.")) continue;
    const std::string leaf = entry.name.substr(entry.name.rfind('.') + 1);
    const auto found = results.find(entry.name);
    if (found != results.end()) {
      const SafetensorsEntry& wanted = truth.at(entry.name);
      expect_close(entry.name, found->second, wanted, tolerance(leaf, wanted));
    } else if (std::find(inputs.begin(), inputs.end(), leaf) == inputs.end()) {
      throw Mismatch(fmt::format("{} is not among what the product gives", entry.name));
    }
  }
}

/// Runs the steps of one `router` case.
class RouterRun {
 public:
  RouterRun(const RouterCase& wanted, const Truth& truth, Device& device)
      : case_(wanted),
        truth_(truth),
        device_(device),
        stream_(device.default_stream()),
        store_(device, wanted.params_dtype),
        router_(store_, device, wanted.config) {
    store_.allocate(0);
    if (!case_.from_hidden) return;
    kernels::cast(stream_, {.x = input("weight"), .y = store_.weight("router.weight")});
    if (case_.config.linear_bias) kernels::cast(stream_, {.x = input("bias"), .y = store_.weight("router.bias")});
  }

  const Results& run() {
    for (int64_t step = 0; step < case_.steps; ++step) run_step(step);
    return results_;
  }

 private:
  Tensor input(const std::string& name) const { return to_device(device_, truth_.at(name)); }
  void put(const std::string& name, const Tensor& value) { results_[name] = kernels::read_values(value); }

  void run_step(int64_t step) {
    const std::string prefix = case_.steps > 1 ? fmt::format("step{}.", step) : "";
    store_.zero_gradients(stream_);
    router_.begin_step(stream_);
    if (case_.config.expert_bias) {
      const Tensor bias = store_.buffer("router.expert_bias");
      if (step == 0) kernels::cast(stream_, {.x = input(prefix + "expert_bias"), .y = bias});
      put(prefix + "expert_bias", bias);
    }
    for (int64_t m = 0; m < case_.micro_batches; ++m)
      run_micro_batch(m, case_.micro_batches > 1 ? fmt::format("{}mb{}.", prefix, m) : prefix);
    if (!case_.training) return;
    put(prefix + "local_tokens_per_expert", router_.statistics().local_tokens());
    put(prefix + "global_tokens_per_expert", router_.statistics().running_counts());
    if (case_.from_hidden) put(prefix + "dweight", store_.gradient("router.weight"));
    if (case_.config.linear_bias) put(prefix + "dbias", store_.gradient("router.bias"));
    router_.end_step(stream_, store_);
    if (case_.config.expert_bias) put(prefix + "updated_expert_bias", store_.buffer("router.expert_bias"));
  }

  void run_micro_batch(int64_t index, const std::string& prefix) {
    BatchInfo batch;
    batch.index = index;
    batch.sequence_length = case_.sequence_length;
    batch.batch = case_.batch;
    double valid = static_cast<double>(case_.tokens());
    if (case_.padding_mask) {
      batch.padding = input(prefix + "padding_mask");
      for (const double padding : kernels::read_values(batch.padding)) valid -= padding;
    }
    const double worth = case_.per_token_loss ? valid : 1.0;
    Context context{.stream = stream_,
                    .store = store_,
                    .weight_gradients = queue_,
                    .save_policy = policy_,
                    .batch = batch,
                    .training = case_.training,
                    .with_gradient = case_.training,
                    .loss_weights = {case_.gradient_scale * worth}};
    RouterSaved saved;
    RouterInspection look;
    Tensor x;
    Routing routing;
    if (case_.from_hidden) {
      x = input(prefix + "hidden");
      routing = router_.forward(context, SavedTensor(x), x, &saved, &look);
    } else {
      routing = router_.route(context, input(prefix + "logits"), &saved, &look);
    }
    put_forward(prefix, routing, look, worth);
    if (!case_.training) return;
    const Tensor dprobs = chosen_gradient(prefix, routing);
    if (!case_.from_hidden) {
      put(prefix + "dlogits", router_.route_backward(context, dprobs, saved));
      return;
    }
    const Tensor dx = context.empty(x.shape(), x.dtype(), "golden.dx");
    kernels::fill(stream_, {.x = dx, .value = 0});
    router_.backward(context, dprobs, saved, dx, &look);
    put(prefix + "dlogits", look.dlogits);
    put(prefix + "dhidden", dx);
  }

  void put_forward(const std::string& prefix, const Routing& routing, const RouterInspection& look, double worth) {
    put(prefix + "logits", look.logits);
    put(prefix + "routing_map", look.map);
    put(prefix + "probs", look.map);
    std::vector<double>& dense = results_[prefix + "probs"];
    std::fill(dense.begin(), dense.end(), 0.0);
    for_each_choice(routing,
                    [&](size_t choice, size_t cell) { dense[cell] = kernels::read_values(routing.probs)[choice]; });
    const Tensor counts = Tensor::empty(device_, {case_.config.experts}, DType::kF64, {});
    kernels::fill(stream_, {.x = counts, .value = 0});
    kernels::count_map(stream_, {.map = look.map, .counts = counts});
    put(prefix + "tokens_per_expert", counts);
    if (look.aux_scores.defined()) {
      put(prefix + "aux_scores", look.aux_scores);
      put(prefix + "aux_routing_map", look.aux_map);
    }
    put_losses(prefix, look, worth);
  }

  void put_losses(const std::string& prefix, const RouterInspection& look, double worth) {
    static const std::map<std::string, std::string> names = {{"load_balancing_loss", "aux_loss"},
                                                             {"seq_load_balancing_loss", "seq_aux_loss"},
                                                             {"global_load_balancing_loss", "global_aux_loss"},
                                                             {"z_loss", "z_loss"}};
    const std::vector<std::string> ours = router_.loss_names();
    for (size_t i = 0; i < look.losses.size(); ++i) {
      const std::string name = prefix + names.at(ours[i]);
      const double loss = kernels::read_values(look.losses[i])[0];
      const double so_far = logged_[ours[i]], now = kernels::read_values(router_.statistics().loss(i))[0];
      results_[name] = {loss};
      // The z-loss stays in the logits' precision, so the product with the number of tokens does too.
      const bool rounds = ours[i] == kZLossName && look.logits.dtype() == DType::kBF16;
      results_[name + "_attached"] = {rounds ? to_float(to_bf16(static_cast<float>(worth * loss))) : worth * loss};
      // What is logged adds up over the step and starts again with the next.
      results_[name + "_logged"] = {prefix_is_first(prefix) ? now : now - so_far};
      logged_[ours[i]] = now;
    }
  }
  bool prefix_is_first(const std::string& prefix) const { return case_.micro_batches == 1 || prefix.ends_with("mb0."); }

  /// Calls body(choice t*K+k, cell t*E+e) for every choice that was not dropped.
  template <typename Body>
  void for_each_choice(const Routing& routing, Body body) const {
    const std::vector<double> experts = kernels::read_values(routing.experts);
    for (size_t i = 0; i < experts.size(); ++i) {
      const size_t token = i / static_cast<size_t>(case_.config.rule.topk);
      if (experts[i] >= 0) body(i, token * static_cast<size_t>(case_.config.experts) + static_cast<size_t>(experts[i]));
    }
  }

  /// The upstream gradient at the choices; where one was dropped, a value that must not be read.
  Tensor chosen_gradient(const std::string& prefix, const Routing& routing) const {
    const std::vector<double> dense = values_of(truth_.at(prefix + "dprobs"));
    std::vector<double> out(static_cast<size_t>(routing.probs.element_count()),
                            std::numeric_limits<double>::quiet_NaN());
    for_each_choice(routing, [&](size_t choice, size_t cell) { out[choice] = dense.at(cell); });
    const Tensor dprobs = Tensor::empty(device_, routing.probs.shape(), routing.probs.dtype(), {});
    kernels::write_values(dprobs, out);
    return dprobs;
  }

  const RouterCase& case_;
  const Truth& truth_;
  Device& device_;
  Stream stream_;
  GivenStore store_;
  Router router_;
  WeightGradientQueue queue_;
  KeepEverything policy_;
  Results results_;
  std::map<std::string, double> logged_;
};

bool is_exact(const std::string& leaf) { return leaf.ends_with("routing_map") || leaf.ends_with("tokens_per_expert"); }

double router_tolerance(const RouterCase& wanted, const std::string& leaf, const SafetensorsEntry& entry) {
  if (is_exact(leaf)) return 0;
  if (entry.dtype == DType::kBF16) return 0x1p-7;
  if (wanted.config.rule.f64_scores && wanted.router_dtype() == DType::kF64)
    return entry.dtype == DType::kF32 ? 1e-6 : 1e-12;
  const bool in_logits_precision = leaf == "logits" || leaf == "z_loss";
  return in_logits_precision && entry.dtype == DType::kF64 ? 1e-12 : 1e-5;
}

void check_router(const Json& json, const Truth& truth, Device& device) {
  const RouterCase wanted = router_case(json);
  if (wanted.capacity) {
    if (!wanted.config.capacity_factor) throw Mismatch("a capacity without a capacity factor");
    const int64_t capacity = kernels::expert_capacity(wanted.tokens(), wanted.config.rule.topk, wanted.config.experts,
                                                      *wanted.config.capacity_factor);
    if (capacity != *wanted.capacity)
      throw Mismatch(fmt::format("capacity is {}, must be {}", capacity, *wanted.capacity));
  }
  RouterRun run(wanted, truth, device);
  expect_results(
      truth, run.run(), {"hidden", "weight", "bias", "padding_mask", "dprobs"},
      [&](const std::string& leaf, const SafetensorsEntry& entry) { return router_tolerance(wanted, leaf, entry); });
}

void check_bias_update(const Json& json, const Truth& truth, Device& device) {
  const Stream stream = device.default_stream();
  const Tensor bias = to_device(device, truth.at("expert_bias"));
  const Tensor counts = to_device(device, truth.at("tokens_per_expert"));
  Results results;
  std::vector<double>& updated = results["updated_expert_bias"];
  for (int64_t step = 0; step < json.at("num-steps").as_int(); ++step) {
    kernels::expert_bias_update(
        stream, {.counts = counts[step], .bias = bias, .rate = json.at("moe-router-bias-update-rate").as_double()});
    const std::vector<double> now = kernels::read_values(bias);
    updated.insert(updated.end(), now.begin(), now.end());
  }
  expect_results(truth, results, {"expert_bias", "tokens_per_expert"},
                 [](const std::string&, const SafetensorsEntry&) { return 1e-5; });
}

void check_pad_map(const Json& json, const Truth& truth, Device& device) {
  const Stream stream = device.default_stream();
  const Tensor map = to_device(device, truth.at("routing_map"));
  const Tensor counts = Tensor::empty(device, {map.size(1)}, DType::kF64, {});
  Results results;
  const auto count = [&](const char* name) {
    kernels::fill(stream, {.x = counts, .value = 0});
    kernels::count_map(stream, {.map = map, .counts = counts});
    results[name] = kernels::read_values(counts);
  };
  count("tokens_per_expert");
  kernels::pad_routing_map(stream,
                           {.kind = kernels::MapPadding::kToMultiple, .amount = json.at("align").as_int(), .map = map});
  results["padded_routing_map"] = kernels::read_values(map);
  count("padded_tokens_per_expert");
  expect_results(truth, results, {"routing_map"}, [](const std::string&, const SafetensorsEntry&) { return 0.0; });
}

void check_case(const fs::path& path, const Json& json, Device& device) {
  const std::string& kind = json.at("kind").as_string();
  const Truth truth(fs::path(path).replace_extension(".safetensors").string());
  if (kind == "router") {
    check_router(json, truth, device);
  } else if (kind == "bias-update") {
    check_bias_update(json, truth, device);
  } else if (kind == "pad-map") {
    check_pad_map(json, truth, device);
  } else {
    throw NotBuilt(fmt::format("kind '{}'", kind));
  }
}

/// A JSON file is a case if its tensors stand beside it, or if it says that it is one.
bool is_case(const fs::path& path, const Json& json) {
  return fs::exists(fs::path(path).replace_extension(".safetensors")) || json.contains("kind");
}

void run_case(const fs::path& path, Device& device, GoldenReport& report) {
  const std::string name = path.stem().string();
  try {
    const Json json = Json::parse(read_file(path.string()), path.filename().string());
    if (!is_case(path, json)) return;
    check_case(path, json, device);
    ++report.passed;
  } catch (const NotBuilt& missing) {
    report.not_built.push_back({name, missing.what()});
  } catch (const std::exception& error) {
    report.failed.push_back({name, error.what()});
  }
}

}  // namespace

std::vector<GoldenReport> golden_router(const std::string& folder, const std::string& device_name) {
  GoldenReport report{"router", 0, {}, {}};
  const std::unique_ptr<Device> device = make_device(device_name);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) run_case(file, *device, report);
  return {report};
}

}  // namespace conclave::proof
