#include "pipeline/executor.h"

#include <algorithm>

#include "base/clock.h"

namespace conclave {

StepExecutor::StepExecutor(std::vector<const GptChunk*> chunks, const ExecutorSettings& settings)
    : chunks_(std::move(chunks)),
      settings_(settings),
      messages_(settings.stream, *settings.groups, settings.part.messages),
      weight_gradients_(chunks_.size()) {
  CONCLAVE_CHECK_EQ(static_cast<int64_t>(chunks_.size()), settings.part.chunks, "[pipeline] chunks of a rank");
}

Context StepExecutor::context(const BatchInfo& batch, int64_t chunk, bool training) {
  return Context{.stream = settings_.stream,
                 .store = *settings_.store,
                 .weight_gradients = weight_gradients_.at(static_cast<size_t>(chunk)),
                 .save_policy = *settings_.save_policy,
                 .batch = batch,
                 .seed = settings_.seed,
                 .iteration = iteration_,
                 .training = training,
                 .with_gradient = training,
                 .observer = settings_.observer,
                 .groups = settings_.groups};
}

void StepExecutor::clear() {
  for (WeightGradientQueue& queue : weight_gradients_) queue.clear();
  in_flight_.clear();
  batches_.clear();
  messages_.clear();
}

void StepExecutor::check_list(const std::vector<StepAction>& actions) const {
  for (const StepAction& action : actions) {
    CONCLAVE_USER_CHECK(action.kind != ActionKind::kForwardBackward,
                        "[pipeline] a forward and a backward merged into one step cannot be carried out yet; the step "
                        "list has {}; leave out --overlap-moe-expert-parallel-comm",
                        step_text({action}));
    CONCLAVE_CHECK(action.chunk < settings_.part.chunks, "[pipeline] this rank has {} chunks; the step list has {}",
                   settings_.part.chunks, step_text({action}));
  }
}

void StepExecutor::run(const std::vector<StepAction>& actions, const StepCallbacks& callbacks,
                       const LossWeights& loss_weights) {
  check_list(actions);
  const bool deferred = std::any_of(actions.begin(), actions.end(), [](const StepAction& action) {
    return action.kind == ActionKind::kWeightGradient;
  });
  clear();
  for (WeightGradientQueue& queue : weight_gradients_)
    queue.set_mode(deferred ? WeightGradientQueue::Mode::kDeferred : WeightGradientQueue::Mode::kAtOnce);
  try {
    bool messages_done = false;
    for (size_t i = 0; i < actions.size();) {
      if (is_message(actions[i])) {
        i = exchange(actions, i, callbacks.batch);
        continue;
      }
      if (actions[i].kind >= ActionKind::kFinalizeGradients && !std::exchange(messages_done, true)) messages_.finish();
      run_timed(actions[i++], callbacks, loss_weights);
    }
    messages_.finish();
    const bool gradients_done = std::all_of(weight_gradients_.begin(), weight_gradients_.end(),
                                            [](const WeightGradientQueue& queue) { return queue.empty(); });
    CONCLAVE_CHECK(in_flight_.empty() && gradients_done, "the step left {} micro-batches unfinished: {}",
                   in_flight_.size(), step_text(actions));
  } catch (...) {
    clear();
    throw;
  }
}

StepExecutor::FlowPlace StepExecutor::flow_place() const {
  const PipelinePart& part = settings_.part;
  const int64_t chunks = part.chunks * part.ranks, chunk = action_.chunk * part.ranks + part.rank;
  switch (action_.kind) {
    case ActionKind::kForward:
      return {action_.micro_batch, chunk};
    case ActionKind::kBackward:
      return {action_.micro_batch, 2 * chunks - 1 - chunk};
    default:
      return {action_.micro_batch, 3 * chunks - 1 - chunk};
  }
}

void StepExecutor::run_timed(const StepAction& action, const StepCallbacks& callbacks,
                             const LossWeights& loss_weights) {
  if (!action_timer_) return run_action(action, callbacks, loss_weights);
  settings_.stream.device().synchronize();
  const Stopwatch watch;
  run_action(action, callbacks, loss_weights);
  settings_.stream.device().synchronize();
  action_timer_(action, watch.seconds());
}

void StepExecutor::run_action(const StepAction& action, const StepCallbacks& callbacks,
                              const LossWeights& loss_weights) {
  action_ = action;
  switch (action.kind) {
    case ActionKind::kForward:
      return forward({action.micro_batch, action.chunk}, callbacks, loss_weights);
    case ActionKind::kBackward:
      return backward({action.micro_batch, action.chunk}, callbacks, loss_weights);
    case ActionKind::kWeightGradient:
      weight_gradients_.at(static_cast<size_t>(action.chunk)).run(action.micro_batch);
      in_flight_.erase({action.micro_batch, action.chunk});
      return;
    case ActionKind::kForwardBackward:
    case ActionKind::kSendActivation:
    case ActionKind::kReceiveActivation:
    case ActionKind::kSendGradient:
    case ActionKind::kReceiveGradient:
      break;  // refused, or part of an exchange
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

std::shared_ptr<const DeviceBatch> StepExecutor::batch(int64_t micro_batch, const BatchCallback& callback) {
  std::weak_ptr<const DeviceBatch>& known = batches_[micro_batch];
  if (std::shared_ptr<const DeviceBatch> here = known.lock()) return here;
  auto made = std::make_shared<DeviceBatch>(callback(micro_batch));
  made->info.index = micro_batch;
  known = made;
  return made;
}

size_t StepExecutor::exchange(const std::vector<StepAction>& actions, size_t first, const BatchCallback& callback) {
  std::vector<StepAction> group{actions[first]};
  for (size_t i = first + 1; i < actions.size() && are_together(actions[i - 1], actions[i]); ++i)
    group.push_back(actions[i]);
  std::vector<StageMessages::Incoming> incoming;
  for (const StepAction& action : group) {
    if (is_send(action)) continue;
    const std::shared_ptr<const DeviceBatch> data = batch(action.micro_batch, callback);
    incoming.push_back({hidden_shape(settings_.groups->part(), data->info, chunk(action.chunk).spec().hidden),
                        settings_.store->compute_dtype()});
  }
  messages_.exchange(group, incoming);
  return first + group.size();
}

void StepExecutor::forward(const ChunkStep& step, const StepCallbacks& callbacks, const LossWeights& loss_weights) {
  const GptChunk& part = chunk(step.chunk);
  InFlight& entry = in_flight_[{step.micro_batch, step.chunk}];
  entry.batch = batch(step.micro_batch, callbacks.batch);
  Context now = context(entry.batch->info, step.chunk, true);
  now.loss_weights = loss_weights;
  LayerMessage in;
  if (!part.range().embedding) in = messages_.take(ActionKind::kReceiveActivation, step);
  LayerMessage out = part.forward(now, entry.batch->tokens, in, &entry.state);
  if (!part.range().output) messages_.put(ActionKind::kSendActivation, step, std::move(out));
}

void StepExecutor::backward(const ChunkStep& step, const StepCallbacks& callbacks, const LossWeights& loss_weights) {
  const GptChunk& part = chunk(step.chunk);
  InFlight& entry = in_flight_.at({step.micro_batch, step.chunk});
  Context now = context(entry.batch->info, step.chunk, true);
  now.loss_weights = loss_weights;
  LayerMessage dout;
  if (part.range().output) {
    LossResult result = part.loss_and_gradient(now, &entry.state, entry.batch->targets, entry.batch->further_targets);
    callbacks.loss(*entry.batch, result);
    dout.hidden = std::move(result.dhidden);
  } else {
    dout = messages_.take(ActionKind::kReceiveGradient, step);
  }
  LayerMessage din = part.backward(now, dout, &entry.state);
  if (!part.range().embedding) messages_.put(ActionKind::kSendGradient, step, std::move(din));
  // Deferred weight gradients still read the micro-batch.
  if (now.weight_gradients.mode() == WeightGradientQueue::Mode::kAtOnce)
    in_flight_.erase({step.micro_batch, step.chunk});
}

void StepExecutor::forward_without_gradient(const ChunkStep& step, const ForwardCallbacks& callbacks) {
  const GptChunk& part = chunk(step.chunk);
  const std::shared_ptr<const DeviceBatch> data = batch(step.micro_batch, callbacks.batch);
  Context now = context(data->info, step.chunk, false);
  if (callbacks.prepare) callbacks.prepare(step.chunk, now);
  LayerMessage in;
  if (!part.range().embedding) in = messages_.take(ActionKind::kReceiveActivation, step);
  ChunkState state;
  LayerMessage out = part.forward(now, data->tokens, in, &state);
  if (part.range().output) {
    callbacks.result(now, *data, out);
  } else {
    messages_.put(ActionKind::kSendActivation, step, std::move(out));
  }
}

void StepExecutor::forward_only(int64_t micro_batches, const ForwardCallbacks& callbacks) {
  const std::vector<StepAction> actions = evaluation_actions(settings_.part, micro_batches);
  clear();
  try {
    for (size_t i = 0; i < actions.size();) {
      if (is_message(actions[i])) {
        i = exchange(actions, i, callbacks.batch);
      } else {
        const StepAction& action = actions[i++];
        forward_without_gradient({action.micro_batch, action.chunk}, callbacks);
      }
    }
    messages_.finish();
  } catch (...) {
    clear();
    throw;
  }
}

Tensor StepExecutor::evaluate(const DeviceBatch& batch) {
  Tensor losses;
  ForwardCallbacks callbacks;
  callbacks.batch = [&](int64_t) { return batch; };
  callbacks.result = [&](const Context& now, const DeviceBatch& data, const LayerMessage& hidden) {
    const GptChunk& last = chunk(settings_.part.span.last / settings_.part.ranks);
    losses = last.loss(now, hidden, data.targets).token_loss;
  };
  forward_only(1, callbacks);
  return losses;
}

}  // namespace conclave
