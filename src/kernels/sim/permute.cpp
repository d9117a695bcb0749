#include "kernels/permute_backend.h"

namespace conclave::kernels {

CONCLAVE_SIM_KERNEL(permutation_plan, PermutationPlanArgs)
CONCLAVE_SIM_KERNEL(gather_rows, GatherRowsArgs)
CONCLAVE_SIM_KERNEL(combine_rows, CombineRowsArgs)
CONCLAVE_SIM_KERNEL(gather_slots, GatherSlotsArgs)
CONCLAVE_SIM_KERNEL(scatter_slots, ScatterSlotsArgs)

}  // namespace conclave::kernels
