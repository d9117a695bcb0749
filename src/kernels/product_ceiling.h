// What this machine's product library reaches: the yardstick of benchmarks and of the trainer's log line.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// FLOP/s of the best of a few dense products (on a CPU: that fit in cache, on all threads), each timed for about
/// `seconds`.
/// dtype f32 or bf16. Not for sim.
double product_ceiling(Device& device, DType dtype, double seconds = 0.2);

}  // namespace conclave::kernels
