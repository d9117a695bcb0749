// Attention over all keys from attention over blocks of them (Milakov & Gimelshein 2018).
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// out [S,B,n*Dv] f32 and lse [B,n,S] f32 hold attention over some keys (none: zeros and -infinity) and take in that
/// over other keys, part [S,B,n*Dv] f32 or bf16 and part_lse [B,n,S] f32.
struct AttentionMergeArgs {
  Tensor out, lse, part, part_lse;
};
void attention_merge(const Stream& stream, const AttentionMergeArgs& args);
Cost attention_merge_cost(const AttentionMergeArgs& args);

}  // namespace conclave::kernels
