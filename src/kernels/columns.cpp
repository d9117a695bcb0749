#include "kernels/columns.h"

#include "kernels/columns_backend.h"

namespace conclave::kernels {
namespace {

void check(const char* op, const Tensor& x, const Tensor& left, const Tensor& right) {
  CONCLAVE_CHECK(left.defined() && left.rank() == 2 && right.defined() && right.rank() == 2,
                 "[kernels/{}] left must be [R,A] and right [R,B]; got {} and {}", op, describe(left), describe(right));
  CONCLAVE_CHECK(dtype_size(left.dtype()) == 4 || dtype_size(left.dtype()) == 2,
                 "[kernels/{}] elements have 2 or 4 bytes; got {}", op, describe(left));
  check_tensor(op, "right", right, {left.size(0), right.size(1)}, left.dtype());
  check_tensor(op, "x", x, {left.size(0), left.size(1) + right.size(1)}, left.dtype());
}

}  // namespace

void split_columns(const Stream& stream, const SplitColumnsArgs& args) {
  check("split_columns", args.x, args.left, args.right);
  CONCLAVE_KERNEL_DISPATCH(split_columns, stream, args);
}
Cost split_columns_cost(const SplitColumnsArgs& args) { return {0, 2 * static_cast<double>(args.x.bytes())}; }

void join_columns(const Stream& stream, const JoinColumnsArgs& args) {
  check("join_columns", args.x, args.left, args.right);
  CONCLAVE_KERNEL_DISPATCH(join_columns, stream, args);
}
Cost join_columns_cost(const JoinColumnsArgs& args) { return {0, 2 * static_cast<double>(args.x.bytes())}; }

}  // namespace conclave::kernels
