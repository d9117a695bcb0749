#include "kernels/embedding_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(embedding_forward, EmbeddingForwardArgs)
CONCLAVE_NO_CUDA_KERNEL(embedding_backward, EmbeddingBackwardWork)

}  // namespace conclave::kernels
