#include "pipeline/executor.h"

#include <algorithm>

namespace conclave {

Context StepExecutor::context(const BatchInfo& batch, bool training) {
  return Context{.stream = settings_.stream,
                 .store = *settings_.store,
                 .weight_gradients = weight_gradients_,
                 .save_policy = *settings_.save_policy,
                 .batch = batch,
                 .seed = settings_.seed,
                 .iteration = iteration_,
                 .training = training,
                 .with_gradient = training,
                 .observer = settings_.observer};
}

void StepExecutor::run(const std::vector<StepAction>& actions, const StepCallbacks& callbacks,
                       const LossWeights& loss_weights) {
  const bool deferred = std::any_of(actions.begin(), actions.end(), [](const StepAction& action) {
    return action.kind == ActionKind::kWeightGradient;
  });
  weight_gradients_.clear();
  in_flight_.clear();
  weight_gradients_.set_mode(deferred ? WeightGradientQueue::Mode::kDeferred : WeightGradientQueue::Mode::kAtOnce);
  for (const StepAction& action : actions) run_action(action, callbacks, loss_weights);
  CONCLAVE_CHECK(in_flight_.empty() && weight_gradients_.empty(), "the step left {} micro-batches unfinished: {}",
                 in_flight_.size(), step_text(actions));
}

void StepExecutor::run_action(const StepAction& action, const StepCallbacks& callbacks,
                              const LossWeights& loss_weights) {
  switch (action.kind) {
    case ActionKind::kForward:
      return forward(action.micro_batch, callbacks, loss_weights);
    case ActionKind::kBackward:
      return backward(action.micro_batch, callbacks, loss_weights);
    case ActionKind::kWeightGradient:
      weight_gradients_.run(action.micro_batch);
      in_flight_.erase(action.micro_batch);
      return;
    case ActionKind::kFinalizeGradients:
      return callbacks.finalize_gradients();
    case ActionKind::kUpdateBuffers:
      return callbacks.update_buffers();
    case ActionKind::kClip:
      return callbacks.clip();
    case ActionKind::kUpdateWeights:
      return callbacks.update_weights();
  }
}

void StepExecutor::forward(int64_t micro_batch, const StepCallbacks& callbacks, const LossWeights& loss_weights) {
  InFlight& entry = in_flight_[micro_batch];
  entry.batch = callbacks.batch(micro_batch);
  entry.batch.info.index = micro_batch;
  Context now = context(entry.batch.info, true);
  now.loss_weights = loss_weights;
  chunk_.forward(now, entry.batch.tokens, {}, &entry.state);
}

void StepExecutor::backward(int64_t micro_batch, const StepCallbacks& callbacks, const LossWeights& loss_weights) {
  InFlight& entry = in_flight_.at(micro_batch);
  Context now = context(entry.batch.info, true);
  now.loss_weights = loss_weights;
  LossResult result = chunk_.loss_and_gradient(now, &entry.state, entry.batch.targets, entry.batch.further_targets);
  callbacks.loss(entry.batch, result);
  chunk_.backward(now, {std::move(result.dhidden)}, &entry.state);
  // Deferred weight gradients still read the micro-batch.
  if (weight_gradients_.mode() == WeightGradientQueue::Mode::kAtOnce) in_flight_.erase(micro_batch);
}

Tensor StepExecutor::evaluate(const DeviceBatch& batch) {
  const Context now = context(batch.info, false);
  ChunkState state;
  const LayerMessage hidden = chunk_.forward(now, batch.tokens, {}, &state);
  return chunk_.loss(now, hidden, batch.targets).token_loss;
}

}  // namespace conclave
