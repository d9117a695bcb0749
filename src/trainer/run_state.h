// Where a run stands, and how it goes into checkpoints and comes back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "config/options.h"
#include "data/data_position.h"
#include "trainer/engine.h"
#include "trainer/result_check.h"

namespace conclave {

struct RunState {
  std::string run_id;
  int64_t iteration = 0;  ///< steps done, skipped ones included
  int64_t consumed_samples = 0;
  int64_t scheduler_samples = 0;  ///< samples of updates that were made: what the rates follow
  int64_t updates = 0;            ///< updates made: Adam's step
  int64_t skipped = 0;
  int64_t failed_iteration = 0;  ///< a step that gave NaN or infinity and was stopped for: see docs/running.md
  JumpCheck losses, gradients;   ///< --check-for-spiky-loss, --check-for-large-grads
  std::optional<DataPosition> data;

  Json to_json() const;
  static RunState from_json(const Json& json);
};

/// Everything of the engine that a checkpoint holds; without optimizer states if `optimizer` is false.
std::vector<CheckpointTensor> checkpoint_tensors(Engine& engine, bool optimizer);

/// Where loading takes weights from, by the options; nothing if a run starts from scratch.
struct LoadPlan {
  CheckpointLocation location;
  bool fresh_run = false;  ///< --finetune: iteration 0, no optimizer, no data position
  bool optimizer = true;
};
std::optional<LoadPlan> plan_load(const CheckpointOptions& options);
/// Whether a run with these options starts from the Hugging Face model of --load-hf: there is no checkpoint yet.
bool starts_from_hugging_face(const CheckpointOptions& options);

/// Reads weights (and optimizer states) of a complete checkpoint into the engine, whatever the layout that wrote it.
/// Every parameter must be there with its shape; what the checkpoint has beyond the model is an error too. All faults
/// are listed at once. Collective over `world`.
void load_engine(Engine& engine, const std::string& directory, bool optimizer, Communicator& world);

/// A random 16-digit name.
std::string new_run_id();

}  // namespace conclave
