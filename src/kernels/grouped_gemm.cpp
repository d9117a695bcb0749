#include "kernels/grouped_gemm.h"

#include "kernels/grouped_gemm_backend.h"

namespace conclave::kernels {
namespace {

struct GroupShape {
  int64_t rows, experts, n, k;
  DType dtype;
};

/// Reads the sizes off rows [P,.] and a stack [E,N,K].
GroupShape shape_of(const char* op, const Tensor& rows, const char* rows_name, const Tensor& stack,
                    const char* stack_name) {
  CONCLAVE_CHECK(rows.defined() && rows.rank() == 2 && (rows.dtype() == DType::kF32 || rows.dtype() == DType::kBF16),
                 "[kernels/{}] {} must be f32 or bf16 with 2 axes; got {}", op, rows_name, describe(rows));
  CONCLAVE_CHECK(stack.defined() && stack.rank() == 3, "[kernels/{}] {} must have axes [E,N,K]; got {}", op, stack_name,
                 describe(stack));
  return {rows.size(0), stack.size(0), stack.size(1), stack.size(2), rows.dtype()};
}

Tensor take_workspace(const Stream& stream, int64_t bytes) {
  return Tensor::empty(stream.device(), {bytes}, DType::kU8, {MemoryCategory::kWorkspace, "grouped_gemm"});
}

Cost product_cost(const Tensor& a, const Tensor& b, const Tensor& stack, double stack_passes) {
  const double flops = 2.0 * static_cast<double>(a.element_count()) * static_cast<double>(b.size(1));
  return {flops, static_cast<double>(a.bytes()) + static_cast<double>(b.bytes()) +
                     stack_passes * static_cast<double>(stack.bytes())};
}

}  // namespace

void grouped_gemm_forward(const Stream& stream, const GroupedForwardArgs& args) {
  constexpr const char* kOp = "grouped_gemm_forward";
  const GroupShape s = shape_of(kOp, args.x, "x", args.weight, "weight");
  check_tensor(kOp, "x", args.x, {s.rows, s.k}, s.dtype);
  check_tensor(kOp, "weight", args.weight, {s.experts, s.n, s.k}, s.dtype);
  check_tensor(kOp, "y", args.y, {s.rows, s.n}, s.dtype);
  check_tensor(kOp, "offsets", args.offsets, {s.experts + 1}, DType::kI64);
  if (args.bias) check_tensor(kOp, "bias", args.bias, {s.experts, s.n}, s.dtype);
  GroupedForwardWork work{args, {}};
  if (stream.device().kind() != DeviceKind::kCuda)
    work.workspace = take_workspace(stream, cpu::grouped_scratch_bytes(args));
  CONCLAVE_KERNEL_DISPATCH(grouped_gemm_forward, stream, work);
}

Cost grouped_gemm_forward_cost(const GroupedForwardArgs& args) { return product_cost(args.x, args.y, args.weight, 1); }

void grouped_gemm_input_gradient(const Stream& stream, const GroupedInputGradientArgs& args) {
  constexpr const char* kOp = "grouped_gemm_input_gradient";
  const GroupShape s = shape_of(kOp, args.dy, "dy", args.weight, "weight");
  check_tensor(kOp, "dy", args.dy, {s.rows, s.n}, s.dtype);
  check_tensor(kOp, "weight", args.weight, {s.experts, s.n, s.k}, s.dtype);
  check_tensor(kOp, "dx", args.dx, {s.rows, s.k}, s.dtype);
  check_tensor(kOp, "offsets", args.offsets, {s.experts + 1}, DType::kI64);
  GroupedInputGradientWork work{args, {}};
  if (stream.device().kind() != DeviceKind::kCuda)
    work.workspace = take_workspace(stream, cpu::grouped_scratch_bytes(args));
  CONCLAVE_KERNEL_DISPATCH(grouped_gemm_input_gradient, stream, work);
}

Cost grouped_gemm_input_gradient_cost(const GroupedInputGradientArgs& args) {
  return product_cost(args.dy, args.dx, args.weight, 1);
}

void grouped_gemm_weight_gradient(const Stream& stream, const GroupedWeightGradientArgs& args) {
  constexpr const char* kOp = "grouped_gemm_weight_gradient";
  const GroupShape s = shape_of(kOp, args.dy, "dy", args.dweight, "dweight");
  check_tensor(kOp, "dy", args.dy, {s.rows, s.n}, s.dtype);
  check_tensor(kOp, "x", args.x, {s.rows, s.k}, s.dtype);
  check_tensor(kOp, "dweight", args.dweight, {s.experts, s.n, s.k}, DType::kF32);
  check_tensor(kOp, "offsets", args.offsets, {s.experts + 1}, DType::kI64);
  if (args.dbias) check_tensor(kOp, "dbias", args.dbias, {s.experts, s.n}, DType::kF32);
  GroupedWeightGradientWork work{args, {}};
  if (stream.device().kind() != DeviceKind::kCuda)
    work.workspace = take_workspace(stream, cpu::grouped_scratch_bytes(args));
  CONCLAVE_KERNEL_DISPATCH(grouped_gemm_weight_gradient, stream, work);
}

Cost grouped_gemm_weight_gradient_cost(const GroupedWeightGradientArgs& args) {
  return product_cost(args.dy, args.x, args.dweight, 2);
}

}  // namespace conclave::kernels
