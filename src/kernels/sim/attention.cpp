#include "kernels/attention_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(attention_forward, AttentionForwardWork)
CONCLAVE_SIM_KERNEL(attention_backward, AttentionBackwardWork)

}  // namespace conclave::kernels
