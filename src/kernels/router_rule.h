// How experts are chosen and weighted: what the routing ops share. docs/routing.md has the formulas.
#pragma once

#include "base/dtype.h"
#include "kernels/kernel.h"

namespace conclave::kernels {

enum class ScoreFunction { kSoftmax, kSigmoid, kSqrtSoftplus };
/// Score of a group of experts: the sum of its best K / group_topk scores (integer division), of its best two, or its
/// best one.
enum class GroupScore { kTopSum, kTopTwo, kMaximum };
/// Whether chosen sigmoid or sqrtsoftplus scores are divided by their sum. kByCount: where K > 1. Softmax: pre_softmax
/// decides.
enum class Normalisation { kByCount, kAlways, kNever };

struct RouterRule {
  ScoreFunction score = ScoreFunction::kSoftmax;
  int64_t topk = 2;           ///< K
  bool pre_softmax = false;   ///< softmax over all E before the choice; no meaning for the other score functions
  double scaling_factor = 0;  ///< multiplies the probabilities; 0 = none
  int64_t groups = 0;         ///< G groups of E/G neighbours; used if group_topk > 0
  int64_t group_topk = 0;     ///< only experts of so many groups may be chosen; 0 = no group limit
  GroupScore group_score = GroupScore::kTopSum;
  Normalisation normalisation = Normalisation::kByCount;
  bool f64_scores = false;  ///< widens the inner f32 steps to f64

  /// Chosen scores are divided by their sum.
  bool normalises() const {
    return score != ScoreFunction::kSoftmax &&
           (normalisation == Normalisation::kAlways || (normalisation == Normalisation::kByCount && topk > 1));
  }
  /// Scores that a group's score is the sum of.
  int64_t group_terms() const {
    return group_score == GroupScore::kMaximum ? 1 : group_score == GroupScore::kTopTwo ? 2 : topk / group_topk;
  }
};

/// Probabilities [T,K] are f64 for f64 logits and f32 otherwise; for bf16 logits their values are rounded to bf16.
inline DType router_probs_dtype(DType logits) { return logits == DType::kF64 ? DType::kF64 : DType::kF32; }

/// Bytes of a tensor that may be absent.
inline double bytes_of(const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0; }

}  // namespace conclave::kernels
