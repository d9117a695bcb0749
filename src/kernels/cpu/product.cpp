#include "kernels/cpu/product.h"

#include "kernels/cpu/pair_product.h"

namespace conclave::kernels::cpu {

int64_t product_scratch_bytes(const MatmulSpec& spec) {
  return goes_in_pairs(spec) ? pair_scratch_bytes(spec) : matmul_scratch_bytes(spec);
}

void run_product(const MatmulSpec& spec, const MatmulOperands& operands) {
  goes_in_pairs(spec) ? run_in_pairs(spec, operands) : find_matmul(spec)->run(operands);
}

}  // namespace conclave::kernels::cpu
