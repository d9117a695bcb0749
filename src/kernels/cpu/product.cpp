#include "kernels/cpu/product.h"

#include "kernels/cpu/packed_product.h"

namespace conclave::kernels::cpu {

int64_t product_scratch_bytes(const MatmulSpec& spec) {
  return packs_itself(spec) ? packed_scratch_bytes(spec) : matmul_scratch_bytes(spec);
}

void run_product(const MatmulSpec& spec, const MatmulOperands& operands) {
  packs_itself(spec) ? run_packed(spec, operands) : find_matmul(spec)->run(operands);
}

}  // namespace conclave::kernels::cpu
