#include "kernels/cuda/grouped_hopper.h"

#include "kernels/cuda/gpu.h"

namespace conclave::kernels::cuda {

bool grouped_hopper_serves(const GroupedProduct& p) {
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  return compute_capability() == 90 && p.n % 8 == 0 && p.k % 8 == 0 && p.n > 0 && p.k > 0 && p.rows > 0 &&
         p.rows < (int64_t{1} << 31) && aligned(p.left) && aligned(p.right) && aligned(p.out) &&
         reinterpret_cast<uintptr_t>(p.bias) % 4 == 0;
}

// Larger tiles and shared operands save traffic to the L2 cache, which bounds the speed. Two tiles of rows share
// weights only where groups are long enough not to leave the lower one empty often; two tiles of columns share rows
// where there is an even number of them. Short sums of weight gradients are bound by adding them in memory: small
// tiles, which are added while the next is multiplied, are best there. Measured: bench/results/grouped_products.md.
GroupedTiling grouped_tiling(const GroupedProduct& p) {
  const int64_t width = p.kind == GroupedKind::kForward ? p.n : p.k;
  const bool long_groups = p.rows / p.experts >= 2048;
  if (width <= 128) return {128, Shared::kNone, 8};
  if (long_groups) return {256, Shared::kRight, 8};
  if (p.kind == GroupedKind::kWeightGradient) return {128, Shared::kRight, 8};
  return {256, width % 512 == 0 ? Shared::kLeft : Shared::kNone, 8};
}

void grouped_hopper(const GroupedProduct& p, const GroupedTiling& tiling, cudaStream_t stream) {
  switch (p.kind) {
    case GroupedKind::kForward:
      return launch_grouped_of_kind<GroupedKind::kForward>(p, tiling, stream);
    case GroupedKind::kInputGradient:
      return launch_grouped_of_kind<GroupedKind::kInputGradient>(p, tiling, stream);
    case GroupedKind::kWeightGradient:
      return launch_grouped_of_kind<GroupedKind::kWeightGradient>(p, tiling, stream);
  }
}

}  // namespace conclave::kernels::cuda
