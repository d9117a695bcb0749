// Where a NaN or infinity first appears in a step of a job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/world.h"
#include "nn/context.h"
#include "pipeline/executor.h"

namespace conclave {

/// Looks at one rank's tensors. Which rank of a job is first does not depend on who is faster: the earliest micro-batch
/// counts, in it the earliest place of its way forwards and backwards through the stages, there the earliest tensor,
/// and of ranks that are alike the lowest.
class FaultFinder final : public Observer {
 public:
  /// Looks while `executor` runs a step; neither is changed.
  explicit FaultFinder(const StepExecutor& executor) : executor_(executor) {}
  void see(const Stream& stream, const std::string& where, const Tensor& tensor) override;
  bool found() const { return first_.has_value(); }
  struct First {
    int64_t rank = 0;  ///< 0 if there is none
    std::string text;  ///< "decoder.layers.3.mlp.experts.linear_fc1 [512, 1024]: 17 of 524288 values (sound until ...)"
  };
  /// Collective over `world`; the same on every rank.
  First first_of_job(World& world, const Stream& stream) const;

 private:
  struct Fault {
    StepExecutor::FlowPlace place;
    int64_t tensor = 0;  ///< number in its place
    std::string text;
  };
  const StepExecutor& executor_;
  StepExecutor::FlowPlace place_;
  int64_t seen_in_place_ = 0;
  std::optional<Fault> first_;
  std::string last_good_;

  int64_t order(int64_t rank) const;
};

}  // namespace conclave
