// What the back ends of attention get from the launcher.
#pragma once

#include "kernels/attention.h"

namespace conclave::kernels {

struct AttentionShape {
  int64_t batch = 0, heads = 0, groups = 0;  ///< B, n, g
  int64_t queries = 0;                       ///< S
  int64_t keys = 0;                          ///< keys there are
  int64_t key_stride = 0;                    ///< Skv: key positions that a head's memory has
  int64_t size = 0, value_size = 0;          ///< D, Dv
  AttentionPlace place;

  /// What is added to a query's index to get the index of the key at its position.
  int64_t offset() const { return place.first_query - place.first_key; }
  /// Number of a probability for dropout.
  int64_t element(int64_t head, int64_t query, int64_t key) const {
    return ((place.first_head + head) * place.queries + place.first_query + query) * place.keys + place.first_key + key;
  }
};
AttentionShape attention_shape(const AttentionForwardArgs& args);
AttentionShape attention_shape(const AttentionBackwardArgs& args);

struct AttentionForwardWork {
  const AttentionForwardArgs& args;
  Tensor scratch;  ///< [threads, floats] f32; cuda: [bytes] u8
};
struct AttentionBackwardWork {
  const AttentionBackwardArgs& args;
  Tensor delta;    ///< [B,n,S] f32: dout · out
  Tensor dq_sums;  ///< [B,n,S,D up to a whole vector] f32, where dq cannot hold the sums itself; not on cuda
  Tensor scratch;  ///< as in the forward pass
};
inline Cost attention_forward_cost(const AttentionForwardWork& work) { return attention_forward_cost(work.args); }
inline Cost attention_backward_cost(const AttentionBackwardWork& work) { return attention_backward_cost(work.args); }

CONCLAVE_KERNEL_BACKENDS(attention_forward, AttentionForwardWork)
CONCLAVE_KERNEL_BACKENDS(attention_backward, AttentionBackwardWork)

namespace cpu {
/// Shape of the scratch: as many rows as threads may take part.
Shape attention_forward_scratch(const AttentionShape& shape, DType dtype);
Shape attention_backward_scratch(const AttentionShape& shape, DType dtype);
}  // namespace cpu
namespace cuda {
int64_t attention_scratch_bytes(const AttentionForwardArgs& args);
int64_t attention_scratch_bytes(const AttentionBackwardArgs& args);
}  // namespace cuda

}  // namespace conclave::kernels
