// Recording which experts were chosen, and choosing the same again: to compare runs, or to train on the routing of
// another engine (reinforcement learning).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "nn/context.h"

namespace conclave {

/// Asked by every router once per micro-batch.
class RoutingReplay {
 public:
  virtual ~RoutingReplay() = default;
  /// The experts [T,K] i32 that `router` must take, before any drop; undefined: it chooses.
  virtual Tensor forced(const Context& context, const std::string& router) = 0;
  /// What it took.
  virtual void taken(const Context& context, const std::string& router, const Tensor& experts) = 0;
  /// With a capacity: what is left of it, -1 where a choice was dropped.
  virtual void kept(const Context&, const std::string&, const Tensor&) {}
};

/// Keeps recordings in device memory, per router first in, first out.
class RoutingTape final : public RoutingReplay {
 public:
  enum class Mode { kOff, kRecord, kReplay };
  void set_mode(Mode mode) { mode_ = mode; }
  Mode mode() const { return mode_; }

  Tensor forced(const Context& context, const std::string& router) override;
  void taken(const Context& context, const std::string& router, const Tensor& experts) override;

  /// Recordings of a router that were not replayed yet.
  std::deque<Tensor>& recordings(const std::string& router) { return recordings_[router]; }
  void clear() { recordings_.clear(); }

 private:
  Mode mode_ = Mode::kOff;
  std::map<std::string, std::deque<Tensor>> recordings_;
};

}  // namespace conclave
