#include "kernels/product_ceiling.h"

#include <algorithm>

#include "base/clock.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave::kernels {
namespace {

struct Sizes {
  int64_t m, n, k;
};

// Products that fill the machine: on a CPU also its cache and no more.
std::vector<Sizes> sizes_for(const Device& device) {
  if (device.kind() == DeviceKind::kCuda) return {{4096, 4096, 8192}};
  return {{1024, 256, 1024}, {2048, 256, 768}, {1024, 1024, 1024}};
}

Tensor random_matrix(Device& device, const Shape& shape, DType dtype, const char* name) {
  const MemoryTag tag{MemoryCategory::kWorkspace, "measured product"};
  const Tensor values = Tensor::empty(device, shape, DType::kF32, tag);
  random_fill(device.default_stream(), {.x = values,
                                        .shard = ShardSpec::whole(shape.to_vector()),
                                        .kind = RandomKind::kUniform,
                                        .a = -1,
                                        .b = 1,
                                        .source = RandomStream(1, name)});
  if (dtype == DType::kF32) return values;
  const Tensor out = Tensor::empty(device, shape, dtype, tag);
  cast(device.default_stream(), {.x = values, .y = out});
  return out;
}

double best_time(Device& device, const GemmArgs& args, double seconds) {
  const Stream stream = device.default_stream();
  double best = 0;
  gemm(stream, args);
  device.synchronize();
  const Stopwatch total;
  for (int calls = 0; calls < 3 || total.seconds() < seconds; ++calls) {
    const Stopwatch watch;
    gemm(stream, args);
    device.synchronize();
    best = calls == 0 ? watch.seconds() : std::min(best, watch.seconds());
  }
  return best;
}

}  // namespace

double product_ceiling(Device& device, DType dtype, double seconds) {
  CONCLAVE_CHECK(!device.is_sim(), "the simulator has no speed of its own to measure");
  double best = 0;
  for (const Sizes& sizes : sizes_for(device)) {
    const GemmArgs args{
        .a = random_matrix(device, {sizes.m, sizes.k}, dtype, "ceiling/a"),
        .b = random_matrix(device, {sizes.k, sizes.n}, dtype, "ceiling/b"),
        .c = Tensor::empty(device, {sizes.m, sizes.n}, dtype, {MemoryCategory::kWorkspace, "measured product"})};
    const double flops = 2.0 * static_cast<double>(sizes.m * sizes.n) * static_cast<double>(sizes.k);
    best = std::max(best, flops / best_time(device, args, seconds));
  }
  return best;
}

}  // namespace conclave::kernels
