// Routing arithmetic: scores, choice, drop, balancing losses. Facts: Megatron-Core's router; see docs/routing.md for
// the formulas. Logits are [T,E] in the router dtype (f32, f64 or bf16); score arithmetic is f32 unless score_math is
// f64; ties go to the lowest index.
#pragma once

#include <vector>

#include "base/philox.h"
#include "kernels/kernel.h"

namespace conclave::kernels {

enum class ScoreFunction { kSoftmax, kSigmoid, kSqrtSoftplus };
enum class GroupScore { kTopSum, kMaximum };  ///< sum of the best K/group_topk scores, or the best one (DeepSeek-V2)
enum class DropPolicy { kProbs, kPosition };

/// How experts are chosen and weighted.
struct RouterRule {
  ScoreFunction score = ScoreFunction::kSoftmax;
  int64_t topk = 2;  ///< K
  bool pre_softmax = false;
  double scaling_factor = 0;  ///< 0 = none
  int64_t groups = 0;         ///< 0 = no group limit
  int64_t group_topk = 0;
  GroupScore group_score = GroupScore::kTopSum;
  bool f64_scores = false;  ///< widen the internal f32 steps (tight checks of formulas)
};

/// experts [T,K] i32 (ascending rank of score), probs [T,K] of the logits' dtype. bias [E] f32 optional.
/// `forced` [T,K] i32 optional: routing replay, takes these experts instead of choosing.
struct RouterTopkArgs {
  RouterRule rule;
  Tensor logits, bias, forced;
  Tensor experts, probs;
};
void router_topk(const Stream& stream, const RouterTopkArgs& args);
Cost router_topk_cost(const RouterTopkArgs& args);

/// dlogits [T,E] (+)= gradient of probs through scores and normalisation (not through the choice). experts as chosen
/// (before dropping), dprobs [T,K] (zero for dropped ones).
struct RouterTopkBackwardArgs {
  RouterRule rule;
  Tensor logits, experts, dprobs, dlogits;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void router_topk_backward(const Stream& stream, const RouterTopkBackwardArgs& args);
Cost router_topk_backward_cost(const RouterTopkBackwardArgs& args);

/// Sinkhorn choice: balanced matrix until mean |d1 - d1_old| <= 1e-4 when `balance`, else by activation; probs =
/// sigmoid (K=1) or softmax over all E, at the chosen experts.
struct SinkhornArgs {
  Tensor logits, experts, probs;
  bool balance = true;
};
void router_sinkhorn(const Stream& stream, const SinkhornArgs& args);
Cost router_sinkhorn_cost(const SinkhornArgs& args);
struct SinkhornBackwardArgs {
  Tensor logits, experts, dprobs, dlogits;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void router_sinkhorn_backward(const Stream& stream, const SinkhornBackwardArgs& args);
Cost router_sinkhorn_backward_cost(const SinkhornBackwardArgs& args);

/// Capacity: experts[t,k] becomes -1 and probs 0 where the choice falls beyond `capacity` of its expert. capacity > T
/// drops nothing.
struct RouterDropArgs {
  DropPolicy policy = DropPolicy::kProbs;
  int64_t capacity = 0;
  int64_t expert_count = 0;
  Tensor experts, probs;  ///< [T,K], changed in place
};
void router_drop(const Stream& stream, const RouterDropArgs& args);
Cost router_drop_cost(const RouterDropArgs& args);
/// C = ceil((T*K/E) * factor) in double, in this order.
int64_t expert_capacity(int64_t tokens, int64_t topk, int64_t experts, double factor);

/// Scores of the balancing losses [T,E] f32 (softmax over all E; sigmoid and sqrtsoftplus over their row sum + 1e-20)
/// and the counts of their own top K, per sequence: counts [B,E] f32. Rows with padding [T] u8 = 1 are zero in both. T
/// = S*B, row t = s*B + b.
struct BalanceScoresArgs {
  RouterRule rule;
  Tensor logits, padding;
  int64_t batch = 1;
  Tensor scores;  ///< [T,E] f32 (f64 if rule.f64_scores)
  Tensor counts;  ///< [B,E] f32
};
void balance_scores(const Stream& stream, const BalanceScoresArgs& args);
Cost balance_scores_cost(const BalanceScoresArgs& args);

/// coefficient * E / (K N²) * Σ_e (Σ_t scores[t,e]) counts[e]; with per_sequence one such sum for each b (scores rows
/// and counts of b), averaged over B. N = `tokens`. loss [1] f32 out, `logged` [1] f32 += loss / coefficient. dlogits
/// [T,E] += gradient_scale * d loss / d logits. `gradient_scale` multiplies on top of gradient_weight ([1] f32 on the
/// device, optional).
struct BalanceLossArgs {
  RouterRule rule;
  Tensor logits, scores, padding;
  Tensor counts;  ///< [B,E] f32, or [1,E] when not per_sequence
  int64_t batch = 1;
  bool per_sequence = false;
  double coefficient = 0;
  double tokens = 0;    ///< N
  Tensor loss, logged;  ///< [1] f32, optional each
  Tensor dlogits;       ///< optional
  double gradient_scale = 1;
};
void balance_loss(const Stream& stream, const BalanceLossArgs& args);
Cost balance_loss_cost(const BalanceLossArgs& args);

/// coefficient * mean over valid rows of logsumexp(logits)²; logged += loss / coefficient; dlogits += gradient_scale *
/// gradient.
struct ZLossArgs {
  Tensor logits, padding;
  double coefficient = 0;
  Tensor loss, logged, dlogits;
  double gradient_scale = 1;
};
void z_loss(const Stream& stream, const ZLossArgs& args);
Cost z_loss_cost(const ZLossArgs& args);

/// counts [E] f32 += choices per expert over valid rows (after dropping).
struct CountChoicesArgs {
  Tensor experts, padding, counts;
};
void count_choices(const Stream& stream, const CountChoicesArgs& args);
Cost count_choices_cost(const CountChoicesArgs& args);

/// bias += rate * sign(mean(counts) - counts).
struct ExpertBiasUpdateArgs {
  Tensor counts, bias;  ///< [E] f32
  double rate = 1e-3;
};
void expert_bias_update(const Stream& stream, const ExpertBiasUpdateArgs& args);
Cost expert_bias_update_cost(const ExpertBiasUpdateArgs& args);

/// Forced balance: logits [T,E] = standard normals; element t_in_sequence*E + e of streams[b], row t = s*B + b.
struct RandomLogitsArgs {
  Tensor logits;
  int64_t batch = 1;
  int64_t sequence_offset = 0;
  std::vector<RandomStream> streams;
};
void random_logits(const Stream& stream, const RandomLogitsArgs& args);
Cost random_logits_cost(const RandomLogitsArgs& args);

}  // namespace conclave::kernels
