// Heads of latent attention (DeepSeek-V2, 2024). A query or key head has P plain elements and D' that carry the
// rotation; the key's D' are the same for all heads. In the projections the plain ones come first; as heads of
// attention the rotated ones do, where rope() expects them: a product of q and k does not notice.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// fused [S,B,n(P+D')], per head plain then rotated  ->  q [B,n,S,D'+P]. Elements of 2 or 4 bytes.
struct SplitLatentQueryArgs {
  Tensor fused, q;
  int64_t rotated = 0;  ///< D'
};
void split_latent_query(const Stream& stream, const SplitLatentQueryArgs& args);
Cost split_latent_query_cost(const SplitLatentQueryArgs& args);

/// The inverse: gradients.
struct MergeLatentQueryArgs {
  Tensor q, fused;
  int64_t rotated = 0;  ///< D'
};
void merge_latent_query(const Stream& stream, const MergeLatentQueryArgs& args);
Cost merge_latent_query_cost(const MergeLatentQueryArgs& args);

/// up [S,B,n(P+Dv)], per head key then value; shared [S,B,D']  ->  k [B,n,S,D'+P], v [B,n,S,Dv].
struct JoinLatentKeysArgs {
  Tensor up, shared, k, v;
};
void join_latent_keys(const Stream& stream, const JoinLatentKeysArgs& args);
Cost join_latent_keys_cost(const JoinLatentKeysArgs& args);

/// dk, dv -> dup, dshared (the sum over heads in f32, in order). f32 or bf16.
struct JoinLatentKeysBackwardArgs {
  Tensor dk, dv, dup, dshared;
};
void join_latent_keys_backward(const Stream& stream, const JoinLatentKeysBackwardArgs& args);
Cost join_latent_keys_backward_cost(const JoinLatentKeysBackwardArgs& args);

}  // namespace conclave::kernels
