#include "kernels/router_z_loss.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(z_loss, ZLossArgs)
CONCLAVE_KERNEL_BACKENDS(z_loss_backward, ZLossBackwardArgs)

namespace {

void check_rows(const char* op, const Tensor& logits, const Tensor& padding) {
  CONCLAVE_CHECK(logits.defined() && logits.rank() == 2, "[kernels/{}] logits must be [T,E]; got {}", op,
                 describe(logits));
  if (padding.defined()) check_tensor(op, "padding", padding, {logits.size(0)}, DType::kU8);
}

void check_scalar(const char* op, const char* name, const Tensor& tensor) {
  if (tensor.defined()) check_tensor(op, name, tensor, {1}, DType::kF64);
}

}  // namespace

void z_loss(const Stream& stream, const ZLossArgs& args) {
  const char* op = "z_loss";
  check_rows(op, args.logits, args.padding);
  CONCLAVE_CHECK(args.coefficient > 0, "[kernels/{}] a coefficient of {} means no loss at all", op, args.coefficient);
  check_scalar(op, "loss", args.loss);
  check_scalar(op, "logged", args.logged);
  check_scalar(op, "mean_over", args.mean_over);
  ZLossArgs full = args;
  full.workspace = Tensor::empty(args.logits.device(), {64}, DType::kF64, {MemoryCategory::kWorkspace, "z_loss"});
  CONCLAVE_KERNEL_DISPATCH(z_loss, stream, full);
}

Cost z_loss_cost(const ZLossArgs& args) {
  return {4 * static_cast<double>(args.logits.element_count()),
          bytes_of(args.logits) + bytes_of(args.padding) + bytes_of(args.loss) + 2 * bytes_of(args.logged)};
}

void z_loss_backward(const Stream& stream, const ZLossBackwardArgs& args) {
  const char* op = "z_loss_backward";
  check_rows(op, args.logits, args.padding);
  check_tensor(op, "dlogits", args.dlogits, args.logits.shape(), args.logits.dtype());
  check_scalar(op, "mean_over", args.mean_over);
  CONCLAVE_KERNEL_DISPATCH(z_loss_backward, stream, args);
}

Cost z_loss_backward_cost(const ZLossBackwardArgs& args) {
  return {8 * static_cast<double>(args.logits.element_count()), 3 * bytes_of(args.logits) + bytes_of(args.padding)};
}

}  // namespace conclave::kernels
