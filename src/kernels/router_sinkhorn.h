// Choice of experts by a balanced matrix: Sinkhorn & Knopp 1967, as used for routing by Clark et al. 2022.
#pragma once

#include "kernels/router_rule.h"

namespace conclave::kernels {

/// The balanced matrix is d1[e] * exp(logits[t,e]) * d0[t], by alternating
///   d0[t] = (1/T) / (Σ_e d1[e] exp(logits[t,e]) + 1e-8),  d1[e] = (1/E) / (Σ_t d0[t] exp(logits[t,e]) + 1e-8)
/// from d1 = 1 until mean |d1 - d1_old| <= 1e-4, or not a number, or kSinkhornIterations. With `balance` the K largest
/// of it are chosen (training), else the K largest activations. probs = activation at the chosen experts: sigmoid in
/// the logits' precision if K = 1, else softmax over all E; not renormalised.
struct RouterSinkhornArgs {
  int64_t topk = 1;
  bool balance = true;
  bool f64_scores = false;
  Tensor logits;          ///< [T,E] f32, f64 or bf16
  Tensor experts, probs;  ///< [T,K] i32, [T,K] router_probs_dtype
  Tensor workspace;       ///< taken by the op
};
inline constexpr int64_t kSinkhornIterations = 10000;
/// Column sums go over so many blocks of rows.
inline constexpr int64_t kSinkhornBlocks = 32;
void router_sinkhorn(const Stream& stream, const RouterSinkhornArgs& args);
Cost router_sinkhorn_cost(const RouterSinkhornArgs& args);

/// dlogits [T,E] (+)= gradient of probs through the activation, not through the choice.
struct RouterSinkhornBackwardArgs {
  bool f64_scores = false;
  Tensor logits, experts, dprobs, dlogits;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void router_sinkhorn_backward(const Stream& stream, const RouterSinkhornBackwardArgs& args);
Cost router_sinkhorn_backward_cost(const RouterSinkhornBackwardArgs& args);

}  // namespace conclave::kernels
