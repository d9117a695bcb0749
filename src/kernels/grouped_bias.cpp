#include "kernels/grouped_bias.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(grouped_bias_forward, GroupedBiasForwardArgs)
CONCLAVE_KERNEL_BACKENDS(grouped_bias_backward, GroupedBiasBackwardArgs)

Cost grouped_bias_forward_cost(const GroupedBiasForwardArgs& args) {
  return {2.0 * static_cast<double>(args.y.element_count()),
          2.0 * static_cast<double>(args.y.bytes()) + static_cast<double>(args.bias.bytes())};
}

Cost grouped_bias_backward_cost(const GroupedBiasBackwardArgs& args) {
  return {4.0 * static_cast<double>(args.dy.element_count()),
          static_cast<double>(args.dy.bytes() + 2 * args.dbias.bytes())};
}

void grouped_bias_forward(const Stream& stream, const GroupedBiasForwardArgs& args) {
  const int64_t rows = args.y.size(0), width = args.y.size(1), experts = args.bias.size(0);
  check_tensor("grouped_bias_forward", "bias", args.bias, {experts, width}, args.y.dtype());
  check_tensor("grouped_bias_forward", "offsets", args.offsets, {experts + 1}, DType::kI64);
  if (args.row_weight.defined())
    check_tensor("grouped_bias_forward", "row_weight", args.row_weight, {rows}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(grouped_bias_forward, stream, args);
}

void grouped_bias_backward(const Stream& stream, const GroupedBiasBackwardArgs& args) {
  const int64_t rows = args.dy.size(0), width = args.dy.size(1), experts = args.bias.size(0);
  check_tensor("grouped_bias_backward", "bias", args.bias, {experts, width}, args.dy.dtype());
  check_tensor("grouped_bias_backward", "offsets", args.offsets, {experts + 1}, DType::kI64);
  check_tensor("grouped_bias_backward", "dbias", args.dbias, {experts, width}, DType::kF32);
  if (args.row_weight.defined()) {
    check_tensor("grouped_bias_backward", "row_weight", args.row_weight, {rows}, DType::kF32);
    check_tensor("grouped_bias_backward", "drow_weight", args.drow_weight, {rows}, DType::kF32);
  }
  CONCLAVE_KERNEL_DISPATCH(grouped_bias_backward, stream, args);
}

}  // namespace conclave::kernels
