#include "kernels/vocab_loss_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(vocab_row_maximum, VocabRowMaximumArgs)
CONCLAVE_SIM_KERNEL(vocab_exponentials, VocabExponentialsArgs)
CONCLAVE_SIM_KERNEL(vocab_loss, VocabLossArgs)

}  // namespace conclave::kernels
