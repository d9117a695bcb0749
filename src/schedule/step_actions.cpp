#include "schedule/step_actions.h"

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

void add_tail(std::vector<StepAction>& actions) {
  for (const ActionKind kind :
       {ActionKind::kFinalizeGradients, ActionKind::kClip, ActionKind::kUpdateBuffers, ActionKind::kUpdateWeights})
    actions.push_back({kind});
}

void add_backward(std::vector<StepAction>& actions, int64_t micro_batch, WeightGradientTiming timing) {
  actions.push_back({ActionKind::kBackward, micro_batch});
  if (timing == WeightGradientTiming::kAfterBackward) actions.push_back({ActionKind::kWeightGradient, micro_batch});
}

void add_last_gradients(std::vector<StepAction>& actions, int64_t micro_batches, WeightGradientTiming timing) {
  if (timing != WeightGradientTiming::kLast) return;
  for (int64_t i = 0; i < micro_batches; ++i) actions.push_back({ActionKind::kWeightGradient, i});
}

}  // namespace

std::vector<StepAction> sequential_step(int64_t micro_batches, WeightGradientTiming timing) {
  std::vector<StepAction> actions;
  for (int64_t i = 0; i < micro_batches; ++i) {
    actions.push_back({ActionKind::kForward, i});
    add_backward(actions, i, timing);
  }
  add_last_gradients(actions, micro_batches, timing);
  add_tail(actions);
  return actions;
}

std::vector<StepAction> forwards_first_step(int64_t micro_batches, WeightGradientTiming timing) {
  std::vector<StepAction> actions;
  for (int64_t i = 0; i < micro_batches; ++i) actions.push_back({ActionKind::kForward, i});
  for (int64_t i = 0; i < micro_batches; ++i) add_backward(actions, i, timing);
  add_last_gradients(actions, micro_batches, timing);
  add_tail(actions);
  return actions;
}

void check_step(const std::vector<StepAction>& actions, int64_t micro_batches) {
  std::vector<bool> forward(static_cast<size_t>(micro_batches)), backward(static_cast<size_t>(micro_batches));
  int64_t next_gradient = 0, next_backward = 0;
  ActionKind tail = ActionKind::kWeightGradient;
  for (const StepAction& action : actions) {
    const bool in_tail = action.kind >= ActionKind::kFinalizeGradients;
    CONCLAVE_CHECK(in_tail ? action.kind > tail : tail == ActionKind::kWeightGradient, "action out of order in: {}",
                   step_text(actions));
    if (in_tail) {
      tail = action.kind;
      continue;
    }
    CONCLAVE_CHECK(action.micro_batch >= 0 && action.micro_batch < micro_batches, "micro-batch {} of {}",
                   action.micro_batch, micro_batches);
    const auto index = static_cast<size_t>(action.micro_batch);
    if (action.kind == ActionKind::kForward) {
      CONCLAVE_CHECK(!forward[index], "micro-batch {} runs forward twice", index);
      forward[index] = true;
    } else if (action.kind == ActionKind::kBackward) {
      CONCLAVE_CHECK(forward[index] && action.micro_batch == next_backward++, "backward of micro-batch {} out of order",
                     index);
      backward[index] = true;
    } else {
      CONCLAVE_CHECK(backward[index] && action.micro_batch == next_gradient++,
                     "weight gradients of micro-batch {} out of order", index);
    }
  }
  CONCLAVE_CHECK_EQ(next_backward, micro_batches, "backwards in the step");
}

std::string step_text(const std::vector<StepAction>& actions) {
  static constexpr const char* kNames[] = {"F", "B", "W", "finalize", "clip", "buffers", "update"};
  std::vector<std::string> words;
  for (const StepAction& action : actions) {
    std::string word = kNames[static_cast<int>(action.kind)];
    if (action.kind <= ActionKind::kWeightGradient) word += std::to_string(action.micro_batch);
    words.push_back(word);
  }
  return join(words, " ");
}

}  // namespace conclave
