// The back ends of the activations.
#pragma once

#include "kernels/activation.h"

namespace conclave::kernels {

/// The plain activation that a gated kind applies to its gate half; a plain kind is its own.
ActivationKind activation_inside(ActivationKind kind);

CONCLAVE_KERNEL_BACKENDS(activation_forward, ActivationForwardArgs)
CONCLAVE_KERNEL_BACKENDS(activation_backward, ActivationBackwardArgs)

}  // namespace conclave::kernels
