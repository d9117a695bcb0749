#include "kernels/axes.h"

#include "kernels/axes_backend.h"

namespace conclave::kernels {

void swap_axes(const Stream& stream, const SwapAxesArgs& args) {
  const char* op = "swap_axes";
  CONCLAVE_CHECK(args.x.defined() && args.x.rank() == 3, "[kernels/{}] x must be [A,B,W]; got {}", op,
                 describe(args.x));
  check_tensor(op, "y", args.y, {args.x.size(1), args.x.size(0), args.x.size(2)}, args.x.dtype());
  CONCLAVE_KERNEL_DISPATCH(swap_axes, stream, args);
}
Cost swap_axes_cost(const SwapAxesArgs& args) { return {0, 2 * static_cast<double>(args.x.bytes())}; }

}  // namespace conclave::kernels
