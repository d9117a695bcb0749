#include "kernels/cuda/grouped_hopper.h"

#include "kernels/cuda/gpu.h"

namespace conclave::kernels::cuda {

bool grouped_hopper_serves(const GroupedProduct& p) {
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  return compute_capability() == 90 && p.n % 8 == 0 && p.k % 8 == 0 && p.n > 0 && p.k > 0 && p.rows > 0 &&
         p.rows < (int64_t{1} << 31) && aligned(p.left) && aligned(p.right) && aligned(p.out) &&
         reinterpret_cast<uintptr_t>(p.bias) % 4 == 0;
}

GroupedTiling grouped_tiling(const GroupedProduct& p) {
  GroupedTiling tiling;
  const int64_t width = p.kind == GroupedKind::kForward ? p.n : p.k;
  if (width % 256 != 0 && width % 192 == 0) tiling.width = 192;
  if (width <= 128) tiling.width = 128;
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
