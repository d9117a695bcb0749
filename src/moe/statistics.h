// How a router fares, kept on the device until somebody asks: losses for the log, rows per expert, counters of the
// step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/context.h"

namespace conclave {

/// What was routed since the last reset by all ranks, on the host.
struct RoutingReport {
  struct Loss {
    std::string name;
    double sum = 0;  ///< over micro-batches, without coefficient: 1 per micro-batch is perfect balance of aux_loss
  };
  std::vector<Loss> losses;
  std::vector<double> tokens;  ///< [E] rows that reached each expert (after dropping), padding tokens included
  int64_t choices = 0;         ///< T*K over all micro-batches
  int64_t micro_batches = 0;   ///< of all data-parallel ranks
  double dropped() const;      ///< choices that reached no expert
};

/// The balance of one layer in a few numbers.
struct ExpertLoad {
  double max_over_mean = 0;  ///< 1 is perfect; 0 if nothing was routed
  double entropy = 0;        ///< of the shares, divided by log E: 1 is perfect
  int64_t dead = 0;          ///< experts without a single row
};
ExpertLoad expert_load(const std::vector<double>& tokens);

/// Counters of one router on one rank. A step is counted when it ends, so a step that is thrown away leaves no trace.
/// Nothing is counted in evaluation. Balancing losses stand here whole on every rank of TP x CP, the z-loss as this
/// rank's addend, rows as those that this rank sent.
class RoutingStatistics {
 public:
  /// `losses`: their names in the order of loss().
  RoutingStatistics(Device& device, int64_t experts, std::vector<std::string> losses);

  // Slots that kernels add to during a step.
  Tensor loss(size_t index) const;                       ///< [1] f64
  Tensor tokens() const;                                 ///< [E] f64
  Tensor local_tokens() const { return local_tokens_; }  ///< [E] f32, valid rows of the final map: for the expert bias
  Tensor running_counts() const { return running_counts_; }  ///< [E] f32, for the loss over the whole step
  /// Another micro-batch of the step; returns how many there are now, itself included.
  int64_t count_micro_batch(int64_t choices);

  void begin_step(const Stream& stream);  ///< forgets an unfinished step
  void end_step(const Stream& stream);    ///< adds the step to the totals

  /// Reads the totals over all ranks (TP x CP x DP), all of which call it: the only place that waits for the device.
  RoutingReport read(const Stream& stream, ProcessGroups& groups = ProcessGroups::single()) const;
  void reset(const Stream& stream);

 private:
  std::vector<std::string> losses_;
  Tensor step_, total_;  // [losses + E] f64
  Tensor local_tokens_, running_counts_;
  int64_t step_choices_ = 0, step_micro_batches_ = 0;
  int64_t total_choices_ = 0, total_micro_batches_ = 0;
};

}  // namespace conclave
