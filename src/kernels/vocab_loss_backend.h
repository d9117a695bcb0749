// What the back ends of vocab_loss get from the launcher.
#pragma once

#include "kernels/vocab_loss.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(vocab_row_maximum, VocabRowMaximumArgs)
CONCLAVE_KERNEL_BACKENDS(vocab_exponentials, VocabExponentialsArgs)
CONCLAVE_KERNEL_BACKENDS(vocab_loss, VocabLossArgs)

}  // namespace conclave::kernels
