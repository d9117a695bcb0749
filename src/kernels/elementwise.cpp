#include "kernels/elementwise.h"

#include "kernels/elementwise_backend.h"

namespace conclave::kernels {
namespace {

double count_of(const Tensor& tensor) { return static_cast<double>(tensor.element_count()); }
double bytes_of(const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0; }

bool is_one_of(const Tensor& tensor, std::initializer_list<DType> dtypes) {
  if (!tensor.defined()) return false;
  for (const DType dtype : dtypes)
    if (tensor.dtype() == dtype) return true;
  return false;
}

void check_f32_or_bf16(const char* op, const char* name, const Tensor& x, int rank) {
  CONCLAVE_CHECK(is_one_of(x, {DType::kF32, DType::kBF16}) && (rank == 0 || x.rank() == rank),
                 "[kernels/{}] {} must be f32 or bf16{}; got {}", op, name,
                 rank == 0 ? "" : fmt::format(" with {} axes", rank), describe(x));
}

}  // namespace

void fill(const Stream& stream, const FillArgs& args) {
  CONCLAVE_CHECK(is_one_of(args.x, {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8}),
                 "[kernels/fill] x must be f32, bf16, f64, i32, i64 or u8; got {}", describe(args.x));
  CONCLAVE_KERNEL_DISPATCH(fill, stream, args);
}
Cost fill_cost(const FillArgs& args) { return {0, bytes_of(args.x)}; }

void cast(const Stream& stream, const CastArgs& args) {
  const auto castable = {DType::kF32, DType::kBF16, DType::kF64};
  CONCLAVE_CHECK(
      args.x.defined() && args.y.defined() && args.x.element_count() == args.y.element_count() &&
          (args.x.dtype() == args.y.dtype() || (is_one_of(args.x, castable) && is_one_of(args.y, castable))),
      "[kernels/cast] x and y must have as many elements, each f32, bf16 or f64 or both of one dtype; got {} "
      "and {}",
      describe(args.x), describe(args.y));
  CONCLAVE_KERNEL_DISPATCH(cast, stream, args);
}
Cost cast_cost(const CastArgs& args) { return {0, bytes_of(args.x) + bytes_of(args.y)}; }

void scale(const Stream& stream, const ScaleArgs& args) {
  CONCLAVE_CHECK(is_one_of(args.x, {DType::kF32, DType::kBF16, DType::kF64}),
                 "[kernels/scale] x must be f32, bf16 or f64; got {}", describe(args.x));
  check_tensor("scale", "y", args.y, args.x.shape(), args.x.dtype());
  if (args.device_scale) check_tensor("scale", "device_scale", args.device_scale, {1}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(scale, stream, args);
}
Cost scale_cost(const ScaleArgs& args) {
  const bool add = args.accumulate == Accumulate::kAdd;
  return {count_of(args.x) * (add ? 2 : 1), bytes_of(args.x) + bytes_of(args.y) * (add ? 2 : 1)};
}

void column_sum(const Stream& stream, const ColumnSumArgs& args) {
  check_f32_or_bf16("column_sum", "x", args.x, 2);
  check_tensor("column_sum", "out", args.out, {args.x.size(1)}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(column_sum, stream, args);
}
Cost column_sum_cost(const ColumnSumArgs& args) {
  return {count_of(args.x), bytes_of(args.x) + 2 * bytes_of(args.out)};
}

void row_gate_forward(const Stream& stream, const RowGateForwardArgs& args) {
  check_f32_or_bf16("row_gate_forward", "value", args.value, 2);
  check_tensor("row_gate_forward", "gate", args.gate, {args.value.size(0)}, DType::kF32);
  check_tensor("row_gate_forward", "y", args.y, args.value.shape(), args.value.dtype());
  CONCLAVE_KERNEL_DISPATCH(row_gate_forward, stream, args);
}
Cost row_gate_forward_cost(const RowGateForwardArgs& args) {
  return {count_of(args.value), 2 * bytes_of(args.value) + bytes_of(args.gate)};
}

void row_gate_backward(const Stream& stream, const RowGateBackwardArgs& args) {
  check_f32_or_bf16("row_gate_backward", "value", args.value, 2);
  check_tensor("row_gate_backward", "dy", args.dy, args.value.shape(), args.value.dtype());
  check_tensor("row_gate_backward", "dvalue", args.dvalue, args.value.shape(), args.value.dtype());
  check_tensor("row_gate_backward", "gate", args.gate, {args.value.size(0)}, DType::kF32);
  check_tensor("row_gate_backward", "dgate", args.dgate, {args.value.size(0)}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(row_gate_backward, stream, args);
}
Cost row_gate_backward_cost(const RowGateBackwardArgs& args) {
  return {3 * count_of(args.value), 3 * bytes_of(args.value) + 2 * bytes_of(args.gate)};
}

void jitter(const Stream& stream, const JitterArgs& args) {
  check_f32_or_bf16("jitter", "x", args.x, 3);
  check_tensor("jitter", "y", args.y, args.x.shape(), args.x.dtype());
  CONCLAVE_CHECK_EQ(static_cast<int64_t>(args.streams.size()), args.x.size(1),
                    "[kernels/jitter] one random stream is needed for each sequence");
  CONCLAVE_KERNEL_DISPATCH(jitter, stream, args);
}
Cost jitter_cost(const JitterArgs& args) { return {2 * count_of(args.x), bytes_of(args.x) + bytes_of(args.y)}; }

void random_fill(const Stream& stream, const RandomFillArgs& args) {
  check_tensor("random_fill", "x", args.x, args.x.shape(), DType::kF32);
  CONCLAVE_CHECK_EQ(args.shard.element_count(), args.x.element_count(),
                    "[kernels/random_fill] the shard and x must have as many elements");
  CONCLAVE_KERNEL_DISPATCH(random_fill, stream, args);
}
Cost random_fill_cost(const RandomFillArgs& args) { return {2 * count_of(args.x), bytes_of(args.x)}; }

void count_nonfinite(const Stream& stream, const CountNonFiniteArgs& args) {
  check_f32_or_bf16("count_nonfinite", "x", args.x, 0);
  check_tensor("count_nonfinite", "count", args.count, {1}, DType::kI64);
  CONCLAVE_KERNEL_DISPATCH(count_nonfinite, stream, args);
}
Cost count_nonfinite_cost(const CountNonFiniteArgs& args) { return {0, bytes_of(args.x) + bytes_of(args.count)}; }

void abs_max(const Stream& stream, const AbsMaxArgs& args) {
  check_f32_or_bf16("abs_max", "x", args.x, 0);
  check_tensor("abs_max", "out", args.out, {1}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(abs_max, stream, args);
}
Cost abs_max_cost(const AbsMaxArgs& args) { return {0, bytes_of(args.x) + bytes_of(args.out)}; }

}  // namespace conclave::kernels
