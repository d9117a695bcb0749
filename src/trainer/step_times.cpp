#include "trainer/step_times.h"

#include <fmt/format.h>

#include <algorithm>

namespace conclave {
namespace {

const char* part_name(ActionKind kind) {
  switch (kind) {
    case ActionKind::kForward:
      return "forward-compute";
    case ActionKind::kBackward:
      return "backward-compute";
    case ActionKind::kWeightGradient:
      return "weight-gradients";
    case ActionKind::kForwardBackward:
      return "forward-and-backward-compute";
    case ActionKind::kSendActivation:
    case ActionKind::kReceiveActivation:
    case ActionKind::kSendGradient:
    case ActionKind::kReceiveGradient:
      return "pipeline-messages";
    case ActionKind::kFinalizeGradients:
      return "finalize-gradients";
    case ActionKind::kClip:
      return "optimizer-clip-main-grad";
    case ActionKind::kUpdateBuffers:
      return "update-buffers";
    case ActionKind::kUpdateWeights:
      return "optimizer-inner-step";
  }
  return "";
}

bool of_micro_batch(ActionKind kind) { return kind < ActionKind::kFinalizeGradients; }

}  // namespace

void NamedTimes::add(std::string_view name, double seconds) {
  const auto found = std::find_if(list_.begin(), list_.end(), [&](const auto& entry) { return entry.first == name; });
  if (found != list_.end()) {
    found->second += seconds;
  } else {
    list_.emplace_back(name, seconds);
  }
}

void NamedTimes::add(const NamedTimes& other) {
  for (const auto& [name, seconds] : other.list_) add(name, seconds);
}

StepTimer::StepTimer(Engine& engine, int64_t level) : engine_(engine), level_(level) {
  if (level_ < 1) return;
  engine_.executor().set_action_timer(
      [this](const StepAction& action, double seconds) { add_action(action, seconds); });
}

StepTimer::~StepTimer() {
  if (level_ >= 1) engine_.executor().set_action_timer(nullptr);
}

void StepTimer::add_batch_generator(double seconds) {
  if (level_ >= 2) times_.add("batch-generator", seconds);
}

void StepTimer::add_action(const StepAction& action, double seconds) {
  times_.add(of_micro_batch(action.kind) ? "forward-backward" : "optimizer", seconds);
  if (level_ >= 2) times_.add(part_name(action.kind), seconds);
}

std::string times_text(const NamedTimes& times, int64_t steps, std::string_view option) {
  std::string out = option == "max"      ? "max time across ranks (ms):"
                    : option == "minmax" ? "(min, max) time across ranks (ms):"
                                         : "times across ranks (ms):";
  for (const auto& [name, seconds] : times.list()) {
    const double ms = 1e3 * seconds / static_cast<double>(std::max<int64_t>(steps, 1));
    if (option == "all") {
      out += fmt::format("\n  {}:\n     rank  0: {:.2f}", name, ms);
    } else {
      out += fmt::format("\n    {:.<48}: ", name + " ");
      out += option == "max" ? fmt::format("{:.2f}", ms) : fmt::format("({:.2f}, {:.2f})", ms, ms);
    }
  }
  return out;
}

}  // namespace conclave
