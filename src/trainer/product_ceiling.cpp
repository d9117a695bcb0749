#include "trainer/product_ceiling.h"

#include <algorithm>

#include "base/clock.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave {

double product_ceiling(Device& device, DType dtype) {
  constexpr int64_t kSize = 1024;
  const Stream stream = device.default_stream();
  const MemoryTag tag{MemoryCategory::kWorkspace, "product ceiling"};
  const Tensor a = Tensor::empty(device, {kSize, kSize}, dtype, tag),
               b = Tensor::empty(device, {kSize, kSize}, dtype, tag),
               c = Tensor::empty(device, {kSize, kSize}, dtype, tag);
  kernels::fill(stream, {.x = a, .value = 0.5});
  kernels::fill(stream, {.x = b, .value = 0.25});
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const Stopwatch watch;
    kernels::gemm(stream, {.a = a, .b = b, .c = c, .transpose_b = kernels::Transpose::kYes});
    device.synchronize();
    best = std::max(best, 2.0 * kSize * kSize * kSize / watch.seconds());
  }
  return best;
}

}  // namespace conclave
