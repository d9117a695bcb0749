#include "kernels/masked_sum.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(masked_sum, MaskedSumArgs)

Cost masked_sum_cost(const MaskedSumArgs& args) {
  return {3.0 * static_cast<double>(args.values.element_count()),
          2.0 * static_cast<double>(args.values.bytes() + args.out.bytes())};
}

void masked_sum(const Stream& stream, const MaskedSumArgs& args) {
  check_tensor("masked_sum", "values", args.values, {args.values.element_count()}, DType::kF32);
  check_tensor("masked_sum", "mask", args.mask, args.values.shape(), DType::kF32);
  check_tensor("masked_sum", "out", args.out, {2}, DType::kF64);
  CONCLAVE_KERNEL_DISPATCH(masked_sum, stream, args);
}

}  // namespace conclave::kernels
