// What the back ends of embedding get from the launcher.
#pragma once

#include "kernels/embedding.h"

namespace conclave::kernels {

struct EmbeddingBackwardWork {
  const EmbeddingBackwardArgs& args;
  Tensor order;  ///< [T] i64: room to sort the tokens by id
};
inline Cost embedding_backward_cost(const EmbeddingBackwardWork& work) { return embedding_backward_cost(work.args); }

CONCLAVE_KERNEL_BACKENDS(embedding_forward, EmbeddingForwardArgs)
CONCLAVE_KERNEL_BACKENDS(embedding_backward, EmbeddingBackwardWork)

}  // namespace conclave::kernels
