#include "trainer/run_state.h"

#include <random>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/loader.h"
#include "convert/elements.h"

namespace conclave {

Json RunState::to_json() const {
  Json json = Json::object();
  json["run_id"] = run_id;
  json["iteration"] = iteration;
  json["consumed_samples"] = consumed_samples;
  json["scheduler_samples"] = scheduler_samples;
  json["updates"] = updates;
  json["skipped"] = skipped;
  json["failed_iteration"] = failed_iteration;
  json["losses"] = losses.to_json();
  json["gradients"] = gradients.to_json();
  if (data) json["data"] = data->to_json();
  return json;
}

RunState RunState::from_json(const Json& json) {
  RunState state;
  state.run_id = json.at("run_id").as_string();
  state.iteration = json.at("iteration").as_int();
  state.consumed_samples = json.at("consumed_samples").as_int();
  state.scheduler_samples = json.at("scheduler_samples").as_int();
  state.updates = json.at("updates").as_int();
  state.skipped = json.at("skipped").as_int();
  state.failed_iteration = json.at("failed_iteration").as_int();
  if (const Json* losses = json.find("losses")) state.losses = JumpCheck::from_json(*losses);
  if (const Json* gradients = json.find("gradients")) state.gradients = JumpCheck::from_json(*gradients);
  if (const Json* data = json.find("data")) state.data = DataPosition::from_json(*data);
  return state;
}

std::vector<CheckpointTensor> checkpoint_tensors(Engine& engine, bool optimizer) {
  std::vector<CheckpointTensor> tensors;
  for (const StateTensor& state : engine.store().owned_state()) {
    if (state.optimizer && !optimizer) continue;
    tensors.push_back(CheckpointTensor::sharded(state.name, state.shard, state.tensor));
  }
  return tensors;
}

std::optional<LoadPlan> plan_load(const CheckpointOptions& options) {
  const bool optimizer = !options.no_load_optim && !options.finetune;
  if (options.load) {
    if (const auto found = find_checkpoint(*options.load, options.ckpt_step))
      return LoadPlan{*found, options.finetune, optimizer};
    CONCLAVE_USER_CHECK(!options.exit_on_missing_checkpoint,
                        "--load {}: there is no checkpoint, and --exit-on-missing-checkpoint says to stop then",
                        *options.load);
    if (!options.load_hf) log_warning("--load {}: there is no checkpoint; starting from scratch", *options.load);
  }
  if (!options.pretrained_checkpoint) return std::nullopt;
  const auto found = find_checkpoint(*options.pretrained_checkpoint);
  CONCLAVE_USER_CHECK(found.has_value(), "--pretrained-checkpoint {}: there is no checkpoint",
                      *options.pretrained_checkpoint);
  return LoadPlan{*found, true, false};
}

bool starts_from_hugging_face(const CheckpointOptions& options) {
  return options.load_hf && !(options.load && find_checkpoint(*options.load, options.ckpt_step));
}

void load_engine(Engine& engine, const std::string& directory, bool optimizer, Communicator& world) {
  std::vector<CheckpointTensor> wanted;
  for (const StateTensor& state : engine.store().state()) {
    if (!state.optimizer || optimizer)
      wanted.push_back(CheckpointTensor::sharded(state.name, state.shard, state.tensor));
  }
  const Stream stream = engine.device().default_stream();
  load_checkpoint({.directory = directory,
                   .wanted = wanted,
                   .may_be_left = [](const std::string& name) { return name.starts_with("optimizer."); },
                   .convert = convert_elements,  // imported weights stand in the dtype that they came in
                   .world = world,
                   .stream = stream});
  engine.store().weights_changed(stream);
}

std::string new_run_id() {
  std::random_device device;
  return hex64((static_cast<uint64_t>(device()) << 32) | device());
}

}  // namespace conclave
