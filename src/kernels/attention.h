// Blockwise softmax attention with O(S) memory: no S×S matrix ever stands. Online softmax: Milakov & Gimelshein 2018;
// tiling and the backward from the log-sum-exp: Dao et al. 2022.
#pragma once

#include <optional>
#include <vector>

#include "base/philox.h"
#include "kernels/kernel.h"

namespace conclave::kernels {

/// Where a block of heads, queries and keys stands in the whole attention, of which other ranks have other blocks
/// (tensor and context parallelism). Query i of the block is at position first_query + i, key j at first_key + j.
struct AttentionPlace {
  int64_t first_head = 0, first_query = 0, first_key = 0;
  int64_t queries = 0, keys = 0;  ///< of the whole
};

/// Which keys a query at position p of sequence b may see, by their positions: document_start(b,i) <= key <= p
/// (causal), and key > p - window if window > 0 (the window counts the token itself).
struct AttentionMask {
  bool causal = true;
  int64_t window = 0;      ///< 0 = none
  Tensor document_starts;  ///< [B,S] i32: position of the first key of the query's document; optional
  /// None: all heads, and the queries stand at the end of the keys, at positions Skv - S + i.
  std::optional<AttentionPlace> place;
};

/// Dropout on the attention probabilities. The probability of head h, query i and key j, counted in the whole attention
/// of n heads, S queries and Skv keys, is element ((h*S)+i)*Skv + j of stream `streams[b]` and stays if uniform >=
/// rate.
struct AttentionDropout {
  float rate = 0;
  std::vector<RandomStream> streams;  ///< one per sequence of the micro-batch; empty if rate is 0
};

/// q [B,n,S,D], k [B,g,Skv,D], v [B,g,Skv,Dv], g divides n; out [S,B,n*Dv]; lse [B,n,S] f32 (natural log-sum-exp of
/// scaled scores). dtypes f32 or bf16; softmax and sums in f32. A query that sees no key gives zeros.
/// key_count > 0: only the first key_count of Skv positions hold keys (a cache with room to grow); they count as Skv
/// everywhere else.
struct AttentionForwardArgs {
  Tensor q, k, v, out;
  int64_t key_count = 0;
  Tensor lse;  ///< optional when no backward follows
  AttentionMask mask;
  AttentionDropout dropout;
  float scale = 1;
  Tensor max_logit;  ///< optional [B,n,S] f32: largest scaled score of each query; -inf where it sees no key
  /// Optional [n], q's dtype: one more score in each denominator, of a key without a value (a "sink"; Miller 2023 for
  /// 0, gpt-oss for learned ones). It counts in lse, not in max_logit, and no dropout touches it.
  Tensor sink;
};
void attention_forward(const Stream& stream, const AttentionForwardArgs& args);
Cost attention_forward_cost(const AttentionForwardArgs& args);

/// dout, out [S,B,n*Dv] -> dq [B,n,S,D], dk [B,g,Skv,D], dv [B,g,Skv,Dv], overwritten; deterministic (no atomics).
struct AttentionBackwardArgs {
  Tensor dout, q, k, v, out, lse;
  Tensor dq, dk, dv;
  AttentionMask mask;
  AttentionDropout dropout;
  float scale = 1;
  Tensor sink = {};   ///< as in the forward pass
  Tensor dsink = {};  ///< [n] f32, added to; optional
};
void attention_backward(const Stream& stream, const AttentionBackwardArgs& args);
Cost attention_backward_cost(const AttentionBackwardArgs& args);

}  // namespace conclave::kernels
