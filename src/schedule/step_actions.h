// A step as a list of actions: a pure function makes it, one executor carries it out, the simulator times it, a person
// can draw it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace conclave {

enum class ActionKind {
  kForward,         ///< of one micro-batch through one chunk of the model
  kBackward,        ///< input gradients; the last stage's includes the loss
  kWeightGradient,  ///< the deferred weight gradients of one micro-batch
  // Once per step, through callbacks that the trainer registers:
  kFinalizeGradients,
  kClip,           ///< norm, and the check that the step is sound
  kUpdateBuffers,  ///< expert bias
  kUpdateWeights,
};

struct StepAction {
  ActionKind kind = ActionKind::kForward;
  int64_t micro_batch = 0;
  int64_t chunk = 0;
  bool operator==(const StepAction&) const = default;
};

/// When weight gradients run.
enum class WeightGradientTiming {
  kWithBackward,   ///< inside each backward
  kAfterBackward,  ///< right after the micro-batch's backward
  kLast            ///< all after the last backward
};

/// Forward and backward of each micro-batch in turn, then the once-per-step actions: one process without a pipeline.
std::vector<StepAction> sequential_step(int64_t micro_batches, WeightGradientTiming timing);
/// All forwards, then all backwards: another legal order.
std::vector<StepAction> forwards_first_step(int64_t micro_batches, WeightGradientTiming timing);

/// Throws InternalError unless every micro-batch has its forward before its backward, weight gradients come in
/// micro-batch order, and the once-per-step actions follow in order.
void check_step(const std::vector<StepAction>& actions, int64_t micro_batches);

/// "F0 B0 W0 F1 B1 W1 finalize clip buffers update".
std::string step_text(const std::vector<StepAction>& actions);

}  // namespace conclave
