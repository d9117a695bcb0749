#include "kernels/axes_backend.h"
#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {

void swap_axes(const Stream&, const SwapAxesArgs& args) {
  const int64_t a = args.x.size(0), b = args.x.size(1), bytes = args.x.size(2) * dtype_size(args.x.dtype());
  std::byte* y = args.y.raw();
  const std::byte* x = args.x.raw();
#pragma omp parallel for schedule(static) if (args.x.bytes() >= (1 << 15))
  for (int64_t row = 0; row < a * b; ++row) copy_row(y + row * bytes, x + (row % a * b + row / a) * bytes, bytes);
}

}  // namespace conclave::kernels::cpu
