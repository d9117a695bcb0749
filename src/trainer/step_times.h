// Where the time of a step goes (--timing-log-level).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/engine.h"

namespace conclave {

/// Seconds by name, in the order in which names first came.
class NamedTimes {
 public:
  void add(std::string_view name, double seconds);
  void add(const NamedTimes& other);
  bool empty() const { return list_.empty(); }
  const std::vector<std::pair<std::string, double>>& list() const { return list_; }

 private:
  std::vector<std::pair<std::string, double>> list_;
};

/// Times the actions of an engine's steps while it lives. Level 1: "forward-backward", "optimizer"; 2: also their
/// parts and "batch-generator"; 0: nothing, at no cost. The names are Megatron's where it has one.
class StepTimer {
 public:
  StepTimer(Engine& engine, int64_t level);
  ~StepTimer();
  StepTimer(const StepTimer&) = delete;
  StepTimer& operator=(const StepTimer&) = delete;

  void add_batch_generator(double seconds);
  /// What was timed since the last call.
  NamedTimes take() { return std::exchange(times_, {}); }

 private:
  Engine& engine_;
  int64_t level_;
  NamedTimes times_;

  void add_action(const StepAction& action, double seconds);
};

/// What every rank of the engine's world timed, by rank. Collective.
std::vector<NamedTimes> times_of_ranks(Engine& engine, const NamedTimes& own);

/// The block that a log interval prints: mean milliseconds of a step, under the names that rank 0 timed first. `option`
/// is max, minmax or all (ranks).
std::string times_text(const std::vector<NamedTimes>& ranks, int64_t steps, std::string_view option);

}  // namespace conclave
