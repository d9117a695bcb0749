// The action lists of a step on the ranks of a pipeline: work from a pipeline order, and between it the messages.
//
// When a message is received. Give every rank its times (pipeline_times.h). A message that is ready at time t is
// received in its reader's first pause whose next work begins at t or later. Then nobody waits for ever, whatever the
// order: a pause waits for others only until they reach pauses of earlier times (the pause before the reader's ends
// before t; the pause before the sender's ends before its work does). And messages between two ranks are received in
// the order in which they are sent. Received early, they wait in buffers of the reader, not in the sender's way.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/pipeline_times.h"
#include "schedule/step_actions.h"

namespace conclave {

/// How messages meet work.
enum class MessageTiming {
  kBetween,  ///< in the pause between two pieces of work, sends and receives together
  kEarly     ///< a receive is posted one piece of work before its pause, so that it runs beside that work
};

struct PipelineStepArgs {
  PipelineShape shape;  ///< kForwardOnly: any group size will do; evaluation
  StageSpan span;
  WeightGradientTiming weight_gradients = WeightGradientTiming::kWithBackward;
  MessageTiming messages = MessageTiming::kBetween;
};

/// Everything about the step of a pipeline, by rank.
struct PipelinePlan {
  PipelineStepArgs args;
  std::vector<std::vector<PipelineAction>> orders;
  std::vector<std::vector<ActionTime>> times;  ///< of orders
  std::vector<std::vector<StepAction>> steps;  ///< training: with the once-per-step actions
};

/// Throws UserError where the shape does not fit (check_pipeline_shape).
PipelinePlan plan_pipeline(const PipelineStepArgs& args);
/// From orders of one's own, which may leave out nothing that `span` contains.
PipelinePlan plan_pipeline(const PipelineStepArgs& args, std::vector<std::vector<PipelineAction>> orders);

/// One rank's list alone.
std::vector<StepAction> pipeline_step(const PipelineStepArgs& args, int64_t pipeline_rank);

}  // namespace conclave
