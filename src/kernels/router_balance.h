// Load-balancing losses (Shazeer et al. 2017, Fedus et al. 2022; per sequence: DeepSeek-V2; over the step: Qiu et al.
// 2025) in three steps, so that nothing of size [T,E] is kept:
//   balance_scores    per sequence b, counts[b,e] and Σ_t scores[t,e];
//   balance_loss      from these, each loss and its derivative by a score, slope[b,e], which is the same for every row
//   of
//                     b;  the slopes of several losses add up;
//   balance_backward  dlogits += slope through the scores, made again from the logits.
// Rows are t = s*B + b. Rows of padding tokens ([T] u8 = 1, optional) stay out of everything.
#pragma once

#include "kernels/router_rule.h"

namespace conclave::kernels {

/// Scores: softmax over all E; sigmoid and sqrtsoftplus divided by (row sum + 1e-20). counts are those of the K largest
/// scores of a row: no bias, no groups, no drop. Sums over rows in f64 over fixed blocks.
struct BalanceScoresArgs {
  RouterRule rule;
  Tensor logits, padding;
  int64_t batch = 1;
  Tensor counts;      ///< [B,E] f32 out
  Tensor score_sums;  ///< [B,E] f64 out
  Tensor scores;      ///< [T,E] f32 (f64 if rule.f64_scores) out, optional: to look at
  Tensor map;         ///< [T,E] u8 out, optional: to look at
  Tensor workspace;   ///< taken by the op
};
void balance_scores(const Stream& stream, const BalanceScoresArgs& args);
Cost balance_scores_cost(const BalanceScoresArgs& args);

/// total [E] f32 = previous [E] (optional; may be total itself) + Σ_b counts [B,E].
struct RunningCountsArgs {
  Tensor counts, previous, total;
};
void running_counts(const Stream& stream, const RunningCountsArgs& args);
Cost running_counts_cost(const RunningCountsArgs& args);

enum class BalanceKind { kMicroBatch, kSequence, kGlobal };

/// With n = Σ counts / K valid tokens of the micro-batch and scores summed over b where not kSequence:
///   kMicroBatch  coefficient * E / (K n²) * Σ_e sums[e] counts[e]
///   kSequence    the same for each b with n/B, averaged over b
///   kGlobal      counts replaced by running [E] f32 / running_steps (in f32)
/// n = 0: loss 0. slope += gradient_scale * d loss / d score.
struct BalanceLossArgs {
  BalanceKind kind = BalanceKind::kMicroBatch;
  int64_t topk = 1;
  double coefficient = 0;  ///< > 0
  double gradient_scale = 1;
  Tensor counts, score_sums;  ///< [B,E] f32, [B,E] f64
  Tensor running;             ///< kGlobal only
  int64_t running_steps = 0;
  Tensor slope;   ///< [B,E] f64, added to; optional
  Tensor loss;    ///< [1] f64 out, optional
  Tensor logged;  ///< [1] f64 += loss / coefficient, optional
};
void balance_loss(const Stream& stream, const BalanceLossArgs& args);
Cost balance_loss_cost(const BalanceLossArgs& args);

/// dlogits [T,E] of the logits' dtype += slope[b] through the scores.
struct BalanceBackwardArgs {
  RouterRule rule;
  Tensor logits, padding;
  int64_t batch = 1;
  Tensor slope, dlogits;
};
void balance_backward(const Stream& stream, const BalanceBackwardArgs& args);
Cost balance_backward_cost(const BalanceBackwardArgs& args);

/// bias [E] f32 += rate * sign(mean(counts) - counts), counts [E] f32, sign(0) = 0 (Wang et al. 2024, loss-free
/// balancing).
struct ExpertBiasUpdateArgs {
  Tensor counts, bias;
  double rate = 1e-3;
};
void expert_bias_update(const Stream& stream, const ExpertBiasUpdateArgs& args);
Cost expert_bias_update_cost(const ExpertBiasUpdateArgs& args);

}  // namespace conclave::kernels
