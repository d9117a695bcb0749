// Carries out action lists on the chunks of the model that this rank holds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "models/gpt.h"
#include "pipeline/pipeline_part.h"
#include "pipeline/stage_messages.h"
#include "schedule/step_actions.h"

namespace conclave {

/// A micro-batch on the device. Stages without the embedding do not read `tokens`, stages without the output read no
/// targets.
struct DeviceBatch {
  BatchInfo info;
  Tensor tokens;  ///< [B,S] i32
  LossTargets targets;
  std::vector<LossTargets> further_targets;  ///< of prediction depths
};

/// Asked once per micro-batch while a chunk has work on it.
using BatchCallback = std::function<DeviceBatch(int64_t micro_batch)>;

/// What a step needs from outside. The once-per-step actions are callbacks that the trainer registers.
struct StepCallbacks {
  BatchCallback batch;
  std::function<void(const DeviceBatch& batch, const LossResult& result)> loss;  ///< on the rank that holds the output
  std::function<void()> finalize_gradients;
  std::function<void()> update_buffers;
  std::function<void()> clip;
  std::function<void()> update_weights;
};

/// Forward passes through all stages.
struct ForwardCallbacks {
  BatchCallback batch;
  /// The context of a micro-batch in a chunk can be changed: a KV cache, an observer.
  std::function<void(int64_t chunk, Context& context)> prepare = nullptr;
  /// On the rank that holds the output: `hidden` is the input of the output product.
  std::function<void(const Context& context, const DeviceBatch& batch, const LayerMessage& hidden)> result;
};

/// What stays the same over a run.
struct ExecutorSettings {
  Stream stream;
  ParameterStore* store = nullptr;
  const SavePolicy* save_policy = nullptr;
  uint64_t seed = 0;
  Observer* observer = nullptr;
  ProcessGroups* groups = &ProcessGroups::single();
  PipelinePart part = {};
};

class StepExecutor {
 public:
  /// `chunks` of this rank, in order.
  StepExecutor(std::vector<const GptChunk*> chunks, const ExecutorSettings& settings);

  /// Runs a training step: a list of schedule/step_actions.h or pipeline/pipeline_part.h. Nothing is left over
  /// afterwards, also when it throws: the step can be run again (on all ranks of the pipeline). Throws UserError for
  /// lists with merged forwards and backwards.
  void run(const std::vector<StepAction>& actions, const StepCallbacks& callbacks, const LossWeights& loss_weights);

  /// Forward passes of `micro_batches` without gradient; all ranks of a pipeline call it.
  void forward_only(int64_t micro_batches, const ForwardCallbacks& callbacks);
  /// Forward and loss of one micro-batch: [T] f32 losses on the rank that holds the output, undefined on others.
  Tensor evaluate(const DeviceBatch& batch);

  void set_observer(Observer* observer) { settings_.observer = observer; }
  /// Called after each action of a step with the seconds it took, the device waited for; nullptr: nobody waits.
  using ActionTimer = std::function<void(const StepAction& action, double seconds)>;
  void set_action_timer(ActionTimer timer) { action_timer_ = std::move(timer); }
  /// Whether somebody sees tensors or times actions.
  bool is_watched() const { return settings_.observer != nullptr || action_timer_ != nullptr; }
  /// Where in the flow of a micro-batch the action under way stands: on all ranks, what comes later gets a larger
  /// number. Ranks that hold the same layers have the same number.
  struct FlowPlace {
    int64_t micro_batch = 0;  ///< of this rank's data
    int64_t stage = 0;        ///< forwards through all chunks of the pipeline, backwards through them, weight gradients
    bool operator==(const FlowPlace&) const = default;
  };
  FlowPlace flow_place() const;
  /// Number of the step in the run: keys what is drawn anew each iteration.
  void set_iteration(int64_t iteration) { iteration_ = iteration; }

 private:
  struct InFlight {
    std::shared_ptr<const DeviceBatch> batch;
    ChunkState state;
  };
  using Place = std::pair<int64_t, int64_t>;  // micro-batch, chunk
  std::vector<const GptChunk*> chunks_;
  ExecutorSettings settings_;
  int64_t iteration_ = 0;
  ActionTimer action_timer_;
  StepAction action_;  // under way
  StageMessages messages_;
  std::vector<WeightGradientQueue> weight_gradients_;  // by chunk
  std::map<Place, InFlight> in_flight_;
  std::map<int64_t, std::weak_ptr<const DeviceBatch>> batches_;

  const GptChunk& chunk(int64_t index) const { return *chunks_.at(static_cast<size_t>(index)); }
  Context context(const BatchInfo& batch, int64_t chunk, bool training);
  std::shared_ptr<const DeviceBatch> batch(int64_t micro_batch, const BatchCallback& callback);
  void clear();
  void check_list(const std::vector<StepAction>& actions) const;

  /// Posts the exchange that begins at `first`; returns where it ends.
  size_t exchange(const std::vector<StepAction>& actions, size_t first, const BatchCallback& callback);
  void run_timed(const StepAction& action, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void run_action(const StepAction& action, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void forward(const ChunkStep& step, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void backward(const ChunkStep& step, const StepCallbacks& callbacks, const LossWeights& loss_weights);
  void forward_without_gradient(const ChunkStep& step, const ForwardCallbacks& callbacks);
};

}  // namespace conclave
