#include "kernels/optimizer.h"

#include "kernels/optimizer_backend.h"

namespace conclave::kernels {
namespace {

void check_flat(const char* op, const char* name, const Tensor& tensor, int64_t count) {
  check_tensor(op, name, tensor, {count}, DType::kF32);
}

/// What adamw and sgd share.
template <typename Args>
void check_step(const char* op, const Args& args) {
  const int64_t count = args.weight.defined() ? args.weight.element_count() : 0;
  check_flat(op, "weight", args.weight, count);
  check_flat(op, "gradient", args.gradient, count);
  if (args.compute.defined()) check_tensor(op, "compute", args.compute, {count}, DType::kBF16);
  if (args.grad_scale.defined()) check_flat(op, "grad_scale", args.grad_scale, 1);
  CONCLAVE_CHECK(args.step >= 1, "[kernels/{}] steps count from 1; got {}", op, args.step);
}

void check_read(const char* op, const Tensor& x, DType other) {
  CONCLAVE_CHECK(x.defined() && (x.dtype() == DType::kF32 || x.dtype() == other),
                 "[kernels/{}] x must be f32 or {}; got {}", op, dtype_name(other), describe(x));
}

double bytes_of(const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0; }

}  // namespace

void adamw(const Stream& stream, const AdamArgs& args) {
  check_step("adamw", args);
  check_flat("adamw", "exp_avg", args.exp_avg, args.weight.element_count());
  check_flat("adamw", "exp_avg_sq", args.exp_avg_sq, args.weight.element_count());
  CONCLAVE_CHECK(args.beta1 >= 0 && args.beta1 < 1 && args.beta2 >= 0 && args.beta2 < 1,
                 "[kernels/adamw] betas must be in [0, 1); got {} and {}", args.beta1, args.beta2);
  CONCLAVE_KERNEL_DISPATCH(adamw, stream, args);
}

Cost adamw_cost(const AdamArgs& args) {
  const double clear = args.gradient_after == GradientAfter::kZero ? bytes_of(args.gradient) : 0;
  return {14.0 * static_cast<double>(args.weight.element_count()),
          2 * (bytes_of(args.weight) + bytes_of(args.exp_avg) + bytes_of(args.exp_avg_sq)) + bytes_of(args.gradient) +
              clear + bytes_of(args.compute)};
}

void sgd(const Stream& stream, const SgdArgs& args) {
  check_step("sgd", args);
  if (args.momentum != 0 || args.momentum_buffer.defined())
    check_flat("sgd", "momentum_buffer", args.momentum_buffer, args.weight.element_count());
  CONCLAVE_KERNEL_DISPATCH(sgd, stream, args);
}

Cost sgd_cost(const SgdArgs& args) {
  const double clear = args.gradient_after == GradientAfter::kZero ? bytes_of(args.gradient) : 0;
  return {7.0 * static_cast<double>(args.weight.element_count()),
          2 * (bytes_of(args.weight) + bytes_of(args.momentum_buffer)) + bytes_of(args.gradient) + clear +
              bytes_of(args.compute)};
}

void square_sum(const Stream& stream, const SquareSumArgs& args) {
  check_read("square_sum", args.x, DType::kBF16);
  check_tensor("square_sum", "out", args.out, {1}, DType::kF64);
  SquareSumWork work{args, {}};
  work.partials = Tensor::empty(stream.device(), {ceil_div(args.x.element_count(), kSumBlock)}, DType::kF64,
                                {MemoryCategory::kWorkspace, "square_sum"});
  CONCLAVE_KERNEL_DISPATCH(square_sum, stream, work);
}

Cost square_sum_cost(const SquareSumArgs& args) {
  return {2.0 * static_cast<double>(args.x.element_count()), bytes_of(args.x) + bytes_of(args.out)};
}

void clip_scale(const Stream& stream, const ClipScaleArgs& args) {
  check_tensor("clip_scale", "square_sum", args.square_sum, {1}, DType::kF64);
  check_flat("clip_scale", "norm", args.norm, 1);
  check_flat("clip_scale", "scale", args.scale, 1);
  CONCLAVE_KERNEL_DISPATCH(clip_scale, stream, args);
}

Cost clip_scale_cost(const ClipScaleArgs& args) {
  return {4, bytes_of(args.square_sum) + bytes_of(args.norm) + bytes_of(args.scale)};
}

void count_zeros(const Stream& stream, const CountZerosArgs& args) {
  check_read("count_zeros", args.x, DType::kBF16);
  check_tensor("count_zeros", "out", args.out, {1}, DType::kI64);
  CONCLAVE_KERNEL_DISPATCH(count_zeros, stream, args);
}

Cost count_zeros_cost(const CountZerosArgs& args) { return {0, bytes_of(args.x) + bytes_of(args.out)}; }

}  // namespace conclave::kernels
