#include "kernels/vocab_loss_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(vocab_row_maximum, VocabRowMaximumArgs)
CONCLAVE_NO_CUDA_KERNEL(vocab_exponentials, VocabExponentialsArgs)
CONCLAVE_NO_CUDA_KERNEL(vocab_loss, VocabLossArgs)

}  // namespace conclave::kernels
