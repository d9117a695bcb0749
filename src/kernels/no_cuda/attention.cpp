#include "kernels/attention_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(attention_forward, AttentionForwardWork)
CONCLAVE_NO_CUDA_KERNEL(attention_backward, AttentionBackwardWork)

}  // namespace conclave::kernels
