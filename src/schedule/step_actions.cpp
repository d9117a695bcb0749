#include "schedule/step_actions.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

void add_backward(std::vector<StepAction>& actions, int64_t micro_batch, WeightGradientTiming timing) {
  actions.push_back({ActionKind::kBackward, micro_batch});
  if (timing == WeightGradientTiming::kAfterBackward) actions.push_back({ActionKind::kWeightGradient, micro_batch});
}

void finish(std::vector<StepAction>& actions, int64_t micro_batches, WeightGradientTiming timing) {
  if (timing == WeightGradientTiming::kLast) {
    for (int64_t i = 0; i < micro_batches; ++i) actions.push_back({ActionKind::kWeightGradient, i});
  }
  for (const StepAction& action : closing_actions()) actions.push_back(action);
}

// What a step did so far in one chunk.
struct ChunkProgress {
  std::vector<bool> forward, received;  // by micro-batch
  int64_t backwards = 0, weight_gradients = 0;
  std::vector<bool> received_gradient;
};

class StepCheck {
 public:
  StepCheck(const std::vector<StepAction>& actions, int64_t micro_batches)
      : actions_(actions), micro_batches_(micro_batches) {}

  void run() {
    ActionKind tail = ActionKind::kReceiveGradient;
    for (const StepAction& action : actions_) {
      const bool in_tail = action.kind >= ActionKind::kFinalizeGradients;
      require(in_tail ? action.kind > tail : tail == ActionKind::kReceiveGradient, action);
      if (in_tail) {
        tail = action.kind;
        continue;
      }
      require(action.micro_batch >= 0 && action.micro_batch < micro_batches_ && action.chunk >= 0, action);
      work(action);
    }
    for (const auto& [chunk, progress] : chunks_)
      CONCLAVE_CHECK_EQ(progress.backwards, micro_batches_, "backwards of chunk {} in: {}", chunk, step_text(actions_));
  }

 private:
  const std::vector<StepAction>& actions_;
  int64_t micro_batches_;
  std::map<int64_t, ChunkProgress> chunks_;

  void require(bool rule, const StepAction& action) const {
    CONCLAVE_CHECK(rule, "{} is out of order in: {}", step_text({action}), step_text(actions_));
  }
  ChunkProgress& chunk(int64_t index) {
    ChunkProgress& progress = chunks_[index];
    const auto count = static_cast<size_t>(micro_batches_);
    progress.forward.resize(count);
    progress.received.resize(count);
    progress.received_gradient.resize(count);
    return progress;
  }

  void work(const StepAction& action) {
    ChunkProgress& progress = chunk(action.chunk);
    const auto index = static_cast<size_t>(action.micro_batch);
    switch (action.kind) {
      case ActionKind::kForward:
        require(!progress.forward[index], action);
        progress.forward[index] = true;
        break;
      case ActionKind::kBackward:
        require(progress.forward[index] && action.micro_batch == progress.backwards++, action);
        break;
      case ActionKind::kForwardBackward:
        work({ActionKind::kForward, action.micro_batch, action.chunk});
        work({ActionKind::kBackward, action.backward.micro_batch, action.backward.chunk});
        break;
      case ActionKind::kWeightGradient:
        require(action.micro_batch < progress.backwards && action.micro_batch == progress.weight_gradients++, action);
        break;
      case ActionKind::kSendActivation:
        require(progress.forward[index], action);
        break;
      case ActionKind::kReceiveActivation:
        require(!progress.forward[index] && !progress.received[index], action);
        progress.received[index] = true;
        break;
      case ActionKind::kSendGradient:
        require(action.micro_batch < progress.backwards, action);
        break;
      case ActionKind::kReceiveGradient:
        require(action.micro_batch >= progress.backwards && !progress.received_gradient[index], action);
        progress.received_gradient[index] = true;
        break;
      default:
        break;
    }
  }
};

std::string action_word(const StepAction& action, bool chunks) {
  static constexpr const char* kNames[] = {"F",  "B",  "W",        "FB",   ">a",      "<a",
                                           ">g", "<g", "finalize", "clip", "buffers", "update"};
  std::string word = kNames[static_cast<int>(action.kind)];
  if (action.kind >= ActionKind::kFinalizeGradients) return word;
  const auto add = [&](int64_t micro_batch, int64_t chunk) {
    word += chunks ? fmt::format("{}.{}", micro_batch, chunk) : std::to_string(micro_batch);
  };
  add(action.micro_batch, action.chunk);
  if (action.kind == ActionKind::kForwardBackward) {
    word += '/';
    add(action.backward.micro_batch, action.backward.chunk);
  }
  return word;
}

}  // namespace

std::vector<StepAction> closing_actions() {
  return {{ActionKind::kFinalizeGradients},
          {ActionKind::kClip},
          {ActionKind::kUpdateBuffers},
          {ActionKind::kUpdateWeights}};
}

std::vector<StepAction> sequential_step(int64_t micro_batches, WeightGradientTiming timing) {
  std::vector<StepAction> actions;
  for (int64_t i = 0; i < micro_batches; ++i) {
    actions.push_back({ActionKind::kForward, i});
    add_backward(actions, i, timing);
  }
  finish(actions, micro_batches, timing);
  return actions;
}

std::vector<StepAction> forwards_first_step(int64_t micro_batches, WeightGradientTiming timing) {
  std::vector<StepAction> actions;
  for (int64_t i = 0; i < micro_batches; ++i) actions.push_back({ActionKind::kForward, i});
  for (int64_t i = 0; i < micro_batches; ++i) add_backward(actions, i, timing);
  finish(actions, micro_batches, timing);
  return actions;
}

void check_step(const std::vector<StepAction>& actions, int64_t micro_batches) {
  StepCheck(actions, micro_batches).run();
}

std::string step_text(const std::vector<StepAction>& actions) {
  const bool chunks = std::any_of(actions.begin(), actions.end(), [](const StepAction& action) {
    return action.chunk > 0 || action.backward.chunk > 0;
  });
  std::string text;
  for (size_t i = 0; i < actions.size(); ++i) {
    const bool before = i > 0 && are_together(actions[i - 1], actions[i]);
    const bool after = i + 1 < actions.size() && are_together(actions[i], actions[i + 1]);
    if (i > 0) text += ' ';
    if (after && !before) text += '(';
    text += action_word(actions[i], chunks);
    if (before && !after) text += ')';
  }
  return text;
}

}  // namespace conclave
