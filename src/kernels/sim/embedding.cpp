#include "kernels/embedding_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(embedding_forward, EmbeddingForwardArgs)
CONCLAVE_SIM_KERNEL(embedding_backward, EmbeddingBackwardWork)

}  // namespace conclave::kernels
