// Weight gradients are work of their own: backward enqueues them, and a schedule says when they run.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

namespace conclave {

class WeightGradientQueue {
 public:
  using Work = std::function<void()>;

  /// kAtOnce runs work as it comes; kDeferred keeps it for run().
  enum class Mode { kAtOnce, kDeferred };
  void set_mode(Mode mode) { mode_ = mode; }
  Mode mode() const { return mode_; }

  void add(int64_t micro_batch, Work work);
  /// Runs what was kept for one micro-batch, or everything, in order of arrival: per parameter that is micro-batch
  /// order.
  void run(int64_t micro_batch);
  void run_all();
  /// Forgets what was kept: a step that failed.
  void clear() { items_.clear(); }
  bool empty() const { return items_.empty(); }

 private:
  struct Item {
    int64_t micro_batch;
    Work work;
  };
  Mode mode_ = Mode::kAtOnce;
  std::deque<Item> items_;
};

}  // namespace conclave
