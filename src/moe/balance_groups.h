// The sums of the balancing losses over the ranks that hold the other tokens of a micro-batch (TP x CP) or of a step
// (TP x CP x DP). Every member of a group calls the same in the same order.
#pragma once

#include "nn/context.h"

namespace conclave {

/// What balance_scores makes of a rank's tokens, and its sums over ranks.
struct BalanceSums {
  Tensor counts;      ///< [B,E] f32
  Tensor score_sums;  ///< [B,E] f64
};

/// Over the ranks that share a micro-batch; itself where there is one.
BalanceSums sum_over_micro_batch(const Context& context, const BalanceSums& own);
/// From there over data parallelism: sequence b of one rank is added to sequence b of another.
BalanceSums sum_over_data(const Context& context, const BalanceSums& of_micro_batch);
/// Data-parallel ranks.
int64_t data_ranks(const Context& context);

/// [1] f64: tokens of the micro-batch that are not padding, over TP x CP, where this rank holds `tokens` of them.
/// Undefined where this rank holds all.
Tensor tokens_of_micro_batch(const Context& context, int64_t tokens);

/// x summed over TP x CP x DP, in place.
void sum_over_step(const Stream& stream, ProcessGroups& groups, const Tensor& x, const char* name);

}  // namespace conclave
