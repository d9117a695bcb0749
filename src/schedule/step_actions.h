// A step as a list of actions: a pure function makes it, one executor carries it out, the simulator times it, a person
// can draw it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schedule/pipeline_order.h"

namespace conclave {

enum class ActionKind {
  kForward,          ///< of one micro-batch through one chunk of the model
  kBackward,         ///< input gradients; the last stage's includes the loss
  kWeightGradient,   ///< the deferred weight gradients of one micro-batch in one chunk
  kForwardBackward,  ///< a forward and the backward of another micro-batch as one step (StepAction::backward)
  // Messages to and from the neighbours in a pipeline:
  kSendActivation,     ///< what a forward made
  kReceiveActivation,  ///< what a forward will take
  kSendGradient,       ///< what a backward made
  kReceiveGradient,    ///< what a backward will take
  // Once per step, through callbacks that the trainer registers:
  kFinalizeGradients,
  kClip,           ///< norm, and the check that the step is sound
  kUpdateBuffers,  ///< expert bias
  kUpdateWeights,
};

struct StepAction {
  ActionKind kind = ActionKind::kForward;
  int64_t micro_batch = 0;  ///< of messages: that of this rank's forward or backward
  int64_t chunk = 0;        ///< likewise
  int64_t peer = -1;        ///< messages: the other rank of the pipeline
  int64_t exchange = 0;     ///< messages that stand next to each other with the same number are posted together
  ChunkStep backward = {};  ///< kForwardBackward
  bool operator==(const StepAction&) const = default;
};

inline bool is_message(const StepAction& action) {
  return action.kind >= ActionKind::kSendActivation && action.kind <= ActionKind::kReceiveGradient;
}
/// Whether two neighbours of a list belong to one exchange.
inline bool are_together(const StepAction& a, const StepAction& b) {
  return is_message(a) && is_message(b) && a.exchange == b.exchange;
}
inline bool is_send(const StepAction& action) {
  return action.kind == ActionKind::kSendActivation || action.kind == ActionKind::kSendGradient;
}

/// When weight gradients run.
enum class WeightGradientTiming {
  kWithBackward,   ///< inside each backward
  kAfterBackward,  ///< after the micro-batch's backward, and after its result was sent
  kLast            ///< all after the last backward
};

/// Forward and backward of each micro-batch in turn, then the once-per-step actions: one process without a pipeline.
std::vector<StepAction> sequential_step(int64_t micro_batches, WeightGradientTiming timing);
/// All forwards, then all backwards: another legal order.
std::vector<StepAction> forwards_first_step(int64_t micro_batches, WeightGradientTiming timing);

/// The once-per-step actions, in order.
std::vector<StepAction> closing_actions();

/// Throws InternalError unless, in each chunk that occurs, every micro-batch has its forward before its backward,
/// backwards and weight gradients come in micro-batch order, messages stand on the right side of their work, and the
/// once-per-step actions follow in order.
void check_step(const std::vector<StepAction>& actions, int64_t micro_batches);

/// "F0 B0 W0 F1 B1 W1 finalize clip buffers update"; with several chunks "F0.1", chunk behind the dot. Messages: "<a1"
/// and "<g1" receive, ">a0" and ">g0" send an activation or a gradient; "(>a1 <g0)" are posted together.
std::string step_text(const std::vector<StepAction>& actions);

}  // namespace conclave
