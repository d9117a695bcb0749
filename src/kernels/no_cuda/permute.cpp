#include "kernels/permute_backend.h"

namespace conclave::kernels {

CONCLAVE_NO_CUDA_KERNEL(permutation_plan, PermutationPlanArgs)
CONCLAVE_NO_CUDA_KERNEL(gather_rows, GatherRowsArgs)
CONCLAVE_NO_CUDA_KERNEL(combine_rows, CombineRowsArgs)
CONCLAVE_NO_CUDA_KERNEL(gather_slots, GatherSlotsArgs)
CONCLAVE_NO_CUDA_KERNEL(scatter_slots, ScatterSlotsArgs)

}  // namespace conclave::kernels
