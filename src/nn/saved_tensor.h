// What a module keeps between forward and backward. Asking for the value restores it, whatever the policy did with it.
#pragma once

#include <functional>
#include <memory>

#include "tensor/tensor.h"

namespace conclave {

/// What happens to a saved tensor between forward and backward.
enum class SaveAction { kKeep, kRecompute, kOffload };

/// Decides from outside, by the names that --recompute-modules and --offload-modules use. Made in room memory.
class SavePolicy {
 public:
  virtual ~SavePolicy() = default;
  virtual SaveAction action(const char* name) const = 0;
  /// A whole part of the model ("moe", "mlp", ...) that keeps its input alone and runs forward again before its
  /// backward.
  virtual bool reruns(const char* part) const = 0;
};

/// Copyable handle; copies share the value.
class SavedTensor {
 public:
  using Rebuild = std::function<Tensor()>;
  SavedTensor() = default;
  /// Keeps the tensor.
  explicit SavedTensor(Tensor value) : state_(std::make_shared<State>(State{std::move(value), nullptr})) {}
  /// Keeps the closure that makes it again: output-discarding recomputation.
  explicit SavedTensor(Rebuild rebuild) : state_(std::make_shared<State>(State{Tensor(), std::move(rebuild)})) {}

  /// Has the value now, drops it at forget() and makes it again when asked later.
  SavedTensor(Tensor value, Rebuild rebuild)
      : state_(std::make_shared<State>(State{std::move(value), std::move(rebuild)})) {}

  bool defined() const { return state_ != nullptr; }
  /// The value; made now if it was discarded, and then kept until forget().
  const Tensor& get() const;
  /// Drops a value that can be made again; kept values stay.
  void forget() const;

 private:
  struct State {
    Tensor value;
    Rebuild rebuild;
  };
  std::shared_ptr<State> state_;
};

}  // namespace conclave
