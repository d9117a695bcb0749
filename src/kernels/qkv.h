// The fused QKV projection <-> heads. Rows of the projection are grouped by key/value head: for each of g groups its
// n/g query heads, then one key head, then one value head, D elements each.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// fused [S,B,(n+2g)D]  ->  q [B,n,S,D], k [B,g,S,D], v [B,g,S,D]. f32 or bf16.
struct SplitQkvArgs {
  Tensor fused, q, k, v;
};
void split_qkv(const Stream& stream, const SplitQkvArgs& args);
Cost split_qkv_cost(const SplitQkvArgs& args);

/// The inverse: used for gradients.
struct MergeQkvArgs {
  Tensor q, k, v, fused;
};
void merge_qkv(const Stream& stream, const MergeQkvArgs& args);
Cost merge_qkv_cost(const MergeQkvArgs& args);

}  // namespace conclave::kernels
