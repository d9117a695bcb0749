// The back ends of the permutation ops.
#pragma once

#include "kernels/permute.h"

namespace conclave::kernels {

inline constexpr int64_t kMostChoices = 256;  ///< K of combine_rows

CONCLAVE_KERNEL_BACKENDS(permutation_plan, PermutationPlanArgs)
CONCLAVE_KERNEL_BACKENDS(gather_rows, GatherRowsArgs)
CONCLAVE_KERNEL_BACKENDS(combine_rows, CombineRowsArgs)
CONCLAVE_KERNEL_BACKENDS(gather_slots, GatherSlotsArgs)
CONCLAVE_KERNEL_BACKENDS(scatter_slots, ScatterSlotsArgs)

}  // namespace conclave::kernels
