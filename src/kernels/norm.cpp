#include "kernels/norm.h"

#include <algorithm>

#include "kernels/norm_backend.h"

namespace conclave::kernels {

CONCLAVE_KERNEL_BACKENDS(norm_forward, NormForwardArgs)

int64_t norm_gradient_block_rows(int64_t rows) {
  constexpr int64_t kSmallest = 64, kMostBlocks = 256;
  return std::max(kSmallest, ceil_div(rows, kMostBlocks));
}

void norm_forward(const Stream& stream, const NormForwardArgs& args) {
  const char* op = "norm_forward";
  CONCLAVE_CHECK(args.x.defined() && args.x.rank() == 2, "[kernels/{}] x must be [R,W]; got {}", op, describe(args.x));
  const DType dtype = args.x.dtype();
  const int64_t rows = args.x.size(0), width = args.x.size(1);
  CONCLAVE_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "[kernels/{}] x must be f32 or bf16; got {}", op,
                 describe(args.x));
  check_tensor(op, "y", args.y, {rows, width}, dtype);
  check_tensor(op, "weight", args.weight, {width}, dtype);
  if (args.bias) check_tensor(op, "bias", args.bias, {width}, dtype);
  CONCLAVE_CHECK(args.kind == NormKind::kLayer || (!args.bias && !args.mean),
                 "[kernels/{}] RMSNorm has neither bias nor mean", op);
  if (args.mean) check_tensor(op, "mean", args.mean, {rows}, DType::kF32);
  if (args.rstd) check_tensor(op, "rstd", args.rstd, {rows}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(norm_forward, stream, args);
}

Cost norm_forward_cost(const NormForwardArgs& args) {
  const double per_element = args.kind == NormKind::kRms ? 4 : 7;
  return {
      per_element * static_cast<double>(args.x.element_count()),
      static_cast<double>(args.x.bytes() + args.y.bytes() + args.weight.bytes() + (args.bias ? args.bias.bytes() : 0) +
                          (args.mean ? args.mean.bytes() : 0) + (args.rstd ? args.rstd.bytes() : 0))};
}

void norm_backward(const Stream& stream, const NormBackwardArgs& args) {
  const char* op = "norm_backward";
  CONCLAVE_CHECK(args.x.defined() && args.x.rank() == 2, "[kernels/{}] x must be [R,W]; got {}", op, describe(args.x));
  const DType dtype = args.x.dtype();
  const int64_t rows = args.x.size(0), width = args.x.size(1);
  CONCLAVE_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "[kernels/{}] x must be f32 or bf16; got {}", op,
                 describe(args.x));
  check_tensor(op, "dy", args.dy, {rows, width}, dtype);
  check_tensor(op, "dx", args.dx, {rows, width}, dtype);
  check_tensor(op, "weight", args.weight, {width}, dtype);
  check_tensor(op, "rstd", args.rstd, {rows}, DType::kF32);
  if (args.kind == NormKind::kLayer) check_tensor(op, "mean", args.mean, {rows}, DType::kF32);
  if (args.residual) check_tensor(op, "residual", args.residual, {rows, width}, dtype);
  if (args.dweight) check_tensor(op, "dweight", args.dweight, {width}, DType::kF32);
  if (args.dbias) check_tensor(op, "dbias", args.dbias, {width}, DType::kF32);
  CONCLAVE_CHECK(args.kind == NormKind::kLayer || !args.dbias, "[kernels/{}] RMSNorm has no bias", op);
  NormBackwardWork work{args, {}};
  const int64_t sums = (args.dweight ? 1 : 0) + (args.dbias ? 1 : 0);
  if (sums > 0) {
    work.partials = Tensor::empty(stream.device(), {sums, ceil_div(rows, norm_gradient_block_rows(rows)), width},
                                  DType::kF32, {MemoryCategory::kWorkspace, "norm weight gradient, by blocks of rows"});
  }
  CONCLAVE_KERNEL_DISPATCH(norm_backward, stream, work);
}

Cost norm_backward_cost(const NormBackwardArgs& args) {
  const double per_element = args.kind == NormKind::kRms ? 9 : 13;
  const double passes = args.residual ? 2 : 1;
  return {per_element * static_cast<double>(args.x.element_count()),
          static_cast<double>(args.x.bytes() + args.dy.bytes() + args.weight.bytes() + args.rstd.bytes() +
                              (args.mean ? args.mean.bytes() : 0) + 2 * (args.dweight ? args.dweight.bytes() : 0) +
                              2 * (args.dbias ? args.dbias.bytes() : 0)) +
              passes * static_cast<double>(args.dx.bytes())};
}

}  // namespace conclave::kernels
