#include "trainer/step_times.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "checkpoint/tensor_directory.h"

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

std::vector<NamedTimes> times_of_ranks(Engine& engine, const NamedTimes& own) {
  Json json = Json::object();
  for (const auto& [name, seconds] : own.list()) json[name] = seconds;
  Communicator& world = engine.groups().world().all();
  const std::vector<std::string> texts(static_cast<size_t>(world.size()), json.dump());
  std::vector<NamedTimes> out;
  for (const std::string& text : exchange_texts(world, engine.device().default_stream(), texts)) {
    NamedTimes& times = out.emplace_back();
    const Json theirs = Json::parse(text, "another rank's times");
    for (const auto& [name, seconds] : theirs.as_object()) times.add(name, seconds.as_double());
  }
  return out;
}

namespace {

std::vector<std::string> names_of(const std::vector<NamedTimes>& ranks) {
  std::vector<std::string> out;
  for (const NamedTimes& times : ranks) {
    for (const auto& [name, seconds] : times.list()) {
      if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
  }
  return out;
}

double seconds_of(const NamedTimes& times, const std::string& name) {
  for (const auto& [own, seconds] : times.list()) {
    if (own == name) return seconds;
  }
  return 0;  // this rank did nothing of the kind
}

}  // namespace

std::string times_text(const std::vector<NamedTimes>& ranks, int64_t steps, std::string_view option) {
  std::string out = option == "max"      ? "max time across ranks (ms):"
                    : option == "minmax" ? "(min, max) time across ranks (ms):"
                                         : "times across ranks (ms):";
  for (const std::string& name : names_of(ranks)) {
    std::vector<double> ms;
    for (const NamedTimes& times : ranks)
      ms.push_back(1e3 * seconds_of(times, name) / static_cast<double>(std::max<int64_t>(steps, 1)));
    const auto [least, most] = std::minmax_element(ms.begin(), ms.end());
    if (option == "all") {
      out += fmt::format("\n  {}:", name);
      for (size_t rank = 0; rank < ms.size(); ++rank) out += fmt::format("\n     rank {:>2}: {:.2f}", rank, ms[rank]);
    } else {
      out += fmt::format("\n    {:.<48}: ", name + " ");
      out += option == "max" ? fmt::format("{:.2f}", *most) : fmt::format("({:.2f}, {:.2f})", *least, *most);
    }
  }
  return out;
}

}  // namespace conclave
