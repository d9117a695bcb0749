// Carries out the action list of a step on one chunk of the model.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "models/gpt.h"
#include "schedule/step_actions.h"

namespace conclave {

/// A micro-batch on the device.
struct DeviceBatch {
  BatchInfo info;
  Tensor tokens;  ///< [B,S] i32
  LossTargets targets;
  std::vector<LossTargets> further_targets;  ///< of prediction depths
};

/// What a step needs from outside. The once-per-step actions are callbacks that the trainer registers.
struct StepCallbacks {
  std::function<DeviceBatch(int64_t micro_batch)> batch;
  std::function<void(const DeviceBatch& batch, const LossResult& result)> loss;
  std::function<void()> finalize_gradients;
  std::function<void()> update_buffers;
  std::function<void()> clip;
  std::function<void()> update_weights;
};

/// What stays the same over a run.
struct ExecutorSettings {
  Stream stream;
  ParameterStore* store = nullptr;
  const SavePolicy* save_policy = nullptr;
  uint64_t seed = 0;
  Observer* observer = nullptr;
};

class StepExecutor {
 public:
  StepExecutor(const GptChunk& chunk, const ExecutorSettings& settings) : chunk_(chunk), settings_(settings) {}

  /// Runs a training step. Nothing is left over afterwards, also when it throws: the step can be run again.
  void run(const std::vector<StepAction>& actions, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  /// Forward and loss without gradient: [T] f32 losses.
  Tensor evaluate(const DeviceBatch& batch);

  void set_observer(Observer* observer) { settings_.observer = observer; }
  /// Number of the step in the run: keys what is drawn anew each iteration.
  void set_iteration(int64_t iteration) { iteration_ = iteration; }

 private:
  struct InFlight {
    DeviceBatch batch;
    ChunkState state;
  };
  const GptChunk& chunk_;
  ExecutorSettings settings_;
  int64_t iteration_ = 0;
  WeightGradientQueue weight_gradients_;
  std::map<int64_t, InFlight> in_flight_;

  Context context(const BatchInfo& batch, bool training);
  void run_action(const StepAction& action, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void forward(int64_t micro_batch, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void backward(int64_t micro_batch, const StepCallbacks& callbacks, const LossWeights& loss_weights);
};

}  // namespace conclave
