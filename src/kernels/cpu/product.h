// One dense product, made by whatever is fastest for it on this machine.
#pragma once

#include "kernels/cpu/matmul.h"

namespace conclave::kernels::cpu {

/// Of a shape alone; makes no primitive.
int64_t product_scratch_bytes(const MatmulSpec& spec);
void run_product(const MatmulSpec& spec, const MatmulOperands& operands);

}  // namespace conclave::kernels::cpu
