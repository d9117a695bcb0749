// What the back ends of the grouped products get: checked arguments and scratch memory.
#pragma once

#include "kernels/grouped_gemm.h"

namespace conclave::kernels {

struct GroupedForwardWork : GroupedForwardArgs {
  Tensor workspace;
};
struct GroupedInputGradientWork : GroupedInputGradientArgs {
  Tensor workspace;
};
struct GroupedWeightGradientWork : GroupedWeightGradientArgs {
  Tensor workspace;
};

CONCLAVE_KERNEL_BACKENDS(grouped_gemm_forward, GroupedForwardWork)
CONCLAVE_KERNEL_BACKENDS(grouped_gemm_input_gradient, GroupedInputGradientWork)
CONCLAVE_KERNEL_BACKENDS(grouped_gemm_weight_gradient, GroupedWeightGradientWork)

namespace cpu {
// Functions of shapes alone, not of the routing.
int64_t grouped_scratch_bytes(const GroupedForwardArgs& args);
int64_t grouped_scratch_bytes(const GroupedInputGradientArgs& args);
int64_t grouped_scratch_bytes(const GroupedWeightGradientArgs& args);
}  // namespace cpu

}  // namespace conclave::kernels
