#include "kernels/dropout.h"

#include "kernels/dropout_backend.h"

namespace conclave::kernels {

void dropout_add(const Stream& stream, const DropoutAddArgs& args) {
  const char* op = "dropout_add";
  CONCLAVE_CHECK(
      args.x.defined() && args.x.rank() == 3 && (args.x.dtype() == DType::kF32 || args.x.dtype() == DType::kBF16),
      "[kernels/{}] x must be f32 or bf16 [S,B,H]; got {}", op, describe(args.x));
  check_tensor(op, "out", args.out, args.x.shape(), args.x.dtype());
  if (args.residual) check_tensor(op, "residual", args.residual, args.x.shape(), args.x.dtype());
  CONCLAVE_CHECK(args.rate >= 0 && args.rate < 1, "[kernels/{}] the rate must be in [0, 1); got {}", op, args.rate);
  CONCLAVE_CHECK(args.rate == 0 || static_cast<int64_t>(args.streams.size()) == args.x.size(1),
                 "[kernels/{}] {} random streams for {} sequences", op, args.streams.size(), args.x.size(1));
  CONCLAVE_KERNEL_DISPATCH(dropout_add, stream, args);
}

Cost dropout_add_cost(const DropoutAddArgs& args) {
  const double elements = static_cast<double>(args.x.element_count());
  return {(args.rate > 0 ? 3 : 1) * elements,
          static_cast<double>(args.x.bytes() + args.out.bytes() + (args.residual ? args.residual.bytes() : 0))};
}

}  // namespace conclave::kernels
