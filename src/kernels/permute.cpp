#include "kernels/permute.h"

#include "kernels/permute_backend.h"

namespace conclave::kernels {
namespace {

double sum_bytes(std::initializer_list<const Tensor*> tensors) {
  double bytes = 0;
  for (const Tensor* tensor : tensors) bytes += tensor->defined() ? static_cast<double>(tensor->bytes()) : 0;
  return bytes;
}

void check_matrix(const char* op, const char* name, const Tensor& tensor) {
  CONCLAVE_CHECK(tensor.defined() && tensor.rank() == 2, "[kernels/{}] {} must be a matrix; got {}", op, name,
                 describe(tensor));
}

}  // namespace

void permutation_plan(const Stream& stream, const PermutationPlanArgs& args) {
  const char* op = "permutation_plan";
  check_matrix(op, "experts", args.experts);
  check_tensor(op, "experts", args.experts, args.experts.shape(), DType::kI32);
  CONCLAVE_CHECK(args.expert_count > 0 && args.capacity >= 0, "[kernels/{}] {} experts with capacity {}", op,
                 args.expert_count, args.capacity);
  CONCLAVE_CHECK(args.row_token.defined() && args.row_token.rank() == 1, "[kernels/{}] row_token must be [P]; got {}",
                 op, describe(args.row_token));
  const int64_t rows = args.row_token.size(0), choices = args.experts.element_count();
  const int64_t needed = args.capacity > 0 ? args.expert_count * args.capacity : choices;
  CONCLAVE_CHECK(rows >= needed, "[kernels/{}] {} rows are too few: {} are needed", op, rows, needed);
  check_tensor(op, "counts", args.counts, {args.expert_count}, DType::kI64);
  check_tensor(op, "offsets", args.offsets, {args.expert_count + 1}, DType::kI64);
  check_tensor(op, "row_token", args.row_token, {rows}, DType::kI32);
  check_tensor(op, "row_slot", args.row_slot, {rows}, DType::kI32);
  check_tensor(op, "slot_row", args.slot_row, args.experts.shape(), DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(permutation_plan, stream, args);
}
Cost permutation_plan_cost(const PermutationPlanArgs& args) {
  return {0, sum_bytes({&args.experts, &args.experts, &args.counts, &args.offsets, &args.row_token, &args.row_slot,
                        &args.slot_row})};
}

void gather_rows(const Stream& stream, const GatherRowsArgs& args) {
  const char* op = "gather_rows";
  check_matrix(op, "x", args.x);
  check_matrix(op, "out", args.out);
  check_tensor(op, "out", args.out, {args.out.size(0), args.x.size(1)}, args.x.dtype());
  check_tensor(op, "row_token", args.row_token, {args.out.size(0)}, DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(gather_rows, stream, args);
}
Cost gather_rows_cost(const GatherRowsArgs& args) { return {0, sum_bytes({&args.out, &args.out, &args.row_token})}; }

void combine_rows(const Stream& stream, const CombineRowsArgs& args) {
  const char* op = "combine_rows";
  check_matrix(op, "rows", args.rows);
  check_matrix(op, "slot_row", args.slot_row);
  CONCLAVE_CHECK(args.rows.dtype() == DType::kF32 || args.rows.dtype() == DType::kBF16,
                 "[kernels/{}] rows must be f32 or bf16; got {}", op, describe(args.rows));
  CONCLAVE_CHECK(args.slot_row.size(1) <= kMostChoices, "[kernels/{}] at most {} choices per token; got {}", op,
                 kMostChoices, args.slot_row.size(1));
  check_tensor(op, "slot_row", args.slot_row, args.slot_row.shape(), DType::kI32);
  if (args.weight) check_tensor(op, "weight", args.weight, args.slot_row.shape(), DType::kF32);
  check_tensor(op, "out", args.out, {args.slot_row.size(0), args.rows.size(1)}, args.rows.dtype());
  CONCLAVE_KERNEL_DISPATCH(combine_rows, stream, args);
}
Cost combine_rows_cost(const CombineRowsArgs& args) {
  const double moved = static_cast<double>(args.slot_row.element_count()) * static_cast<double>(args.rows.size(1));
  const double writes = args.accumulate == Accumulate::kAdd ? 2 : 1;
  return {(args.weight ? 2 : 1) * moved, moved * static_cast<double>(dtype_size(args.rows.dtype())) +
                                             writes * static_cast<double>(args.out.bytes()) +
                                             sum_bytes({&args.slot_row, &args.weight})};
}

void gather_slots(const Stream& stream, const GatherSlotsArgs& args) {
  const char* op = "gather_slots";
  CONCLAVE_CHECK(args.values.defined() && (args.values.dtype() == DType::kF32 || args.values.dtype() == DType::kF64),
                 "[kernels/{}] values must be f32 or f64; got {}", op, describe(args.values));
  CONCLAVE_CHECK(args.row_slot.defined() && args.row_slot.rank() == 1, "[kernels/{}] row_slot must be [P]; got {}", op,
                 describe(args.row_slot));
  check_tensor(op, "row_slot", args.row_slot, args.row_slot.shape(), DType::kI32);
  check_tensor(op, "out", args.out, args.row_slot.shape(), DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(gather_slots, stream, args);
}
Cost gather_slots_cost(const GatherSlotsArgs& args) {
  return {0, sum_bytes({&args.values, &args.row_slot, &args.out})};
}

void scatter_slots(const Stream& stream, const ScatterSlotsArgs& args) {
  const char* op = "scatter_slots";
  CONCLAVE_CHECK(args.rows.defined() && args.rows.rank() == 1, "[kernels/{}] rows must be [P]; got {}", op,
                 describe(args.rows));
  check_tensor(op, "rows", args.rows, args.rows.shape(), DType::kF32);
  CONCLAVE_CHECK(args.values.defined() && (args.values.dtype() == DType::kF32 || args.values.dtype() == DType::kF64),
                 "[kernels/{}] values must be f32 or f64; got {}", op, describe(args.values));
  CONCLAVE_CHECK(args.slot_row.defined() && args.slot_row.element_count() == args.values.element_count(),
                 "[kernels/{}] slot_row and values must have one size; got {} and {}", op, describe(args.slot_row),
                 describe(args.values));
  check_tensor(op, "slot_row", args.slot_row, args.slot_row.shape(), DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(scatter_slots, stream, args);
}
Cost scatter_slots_cost(const ScatterSlotsArgs& args) {
  return {0, sum_bytes({&args.rows, &args.slot_row, &args.values})};
}

}  // namespace conclave::kernels
