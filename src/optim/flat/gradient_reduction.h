// When the gradient buckets of a grid are summed over data-parallel ranks: at the end of a step, or (overlapped) each
// as soon as its last gradient of the last micro-batch is there, beside what the device still computes. Which buckets
// there are, their order and their sums do not depend on that.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"
#include "optim/flat/flat_grid.h"

namespace conclave {

struct GradientReductionSettings {
  bool overlap = false;
  bool in_bf16 = false;  ///< sums are made of gradients rounded to bf16, and rounded to bf16
};

class GradientReduction {
 public:
  /// Sums `gradients` [bucket length], f32 or bf16, so that at least the held piece is right.
  using Reduce = std::function<void(const Bucket& bucket, const Stream& stream, const Tensor& gradients)>;

  GradientReduction(FlatGrid& grid, Device& device, const GradientReductionSettings& settings, Reduce reduce);

  /// 0 micro-batches: not known, nothing is overlapped.
  void begin_step(int64_t micro_batches);
  /// A module made its last addition of a micro-batch to a parameter's gradient. How many modules do so (tied tables,
  /// prediction heads), the first step tells: it is not overlapped.
  void complete(size_t slot);
  /// Adds up the uses of every parameter that has several.
  void sum_uses(const Stream& stream);
  /// After sum_uses() and what other sums late parameters need: everything is reduced when it returns, in stream order.
  void finish(const Stream& stream);
  /// Buckets whose reduction began before finish(), in this step.
  int64_t overlapped_buckets() const { return static_cast<int64_t>(next_); }

 private:
  struct Flight {
    size_t bucket = 0;
    Tensor staging;  ///< bf16; undefined: in place
    std::unique_ptr<Event> event;
  };

  FlatGrid& grid_;
  Device& device_;
  GradientReductionSettings settings_;
  Reduce reduce_;
  std::unique_ptr<Stream> side_;
  int64_t micro_batches_ = 0;
  std::vector<int64_t> completions_;  ///< by slot, in this step
  std::vector<int64_t> learned_;      ///< by slot: completions of a micro-batch; kUnsteady; empty before the first step
  std::vector<int64_t> open_;         ///< by bucket: parameters without all their gradients
  size_t next_ = 0;                   ///< buckets before this one are on their way
  size_t summed_ = 0;                 ///< buckets before this one have their uses added up
  std::vector<Flight> flights_;

  static constexpr int64_t kUnsteady = -1;

  void learn();
  void launch(size_t bucket);
  void sum_uses_of(size_t bucket, const Stream& stream);
  Tensor staged(const Bucket& bucket, const Stream& stream) const;
  void take_back(const Bucket& bucket, const Stream& stream, const Tensor& staging) const;
};

}  // namespace conclave
