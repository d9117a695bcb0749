#include "kernels/cuda/grouped_hopper.h"

#include "kernels/cuda/gpu.h"

namespace conclave::kernels::cuda {

bool grouped_hopper_serves(const GroupedProduct& p) {
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  return compute_capability() == 90 && p.n % 8 == 0 && p.k % 8 == 0 && p.n > 0 && p.k > 0 && p.rows > 0 &&
         p.rows < (int64_t{1} << 31) && aligned(p.left) && aligned(p.right) && aligned(p.out) &&
         reinterpret_cast<uintptr_t>(p.bias) % 4 == 0;
}

// Larger tiles and shared operands save traffic to the L2 cache, which bounds the speed; short sums and outputs in f32
// gain by storing while the next tile is multiplied. Two tiles of rows share weights only where groups are long enough
// not to leave the lower one empty often.
GroupedTiling grouped_tiling(const GroupedProduct& p) {
  const int64_t width = p.kind == GroupedKind::kForward ? p.n : p.k, rows = p.rows / p.experts;
  const bool long_groups = rows >= 2048 || p.kind == GroupedKind::kWeightGradient;
  GroupedTiling tiling{256, long_groups ? Shared::kRight : Shared::kLeft, 8};
  const int64_t depth = p.kind == GroupedKind::kForward ? p.k : p.kind == GroupedKind::kInputGradient ? p.n : rows;
  if (depth <= 2048) tiling.width = width % 192 == 0 ? 192 : 128;
  if (width <= 256) tiling = {width <= 128 ? 128 : 256, Shared::kNone, 8};
  return tiling;
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
