// What a back end of gemm gets: checked arguments and scratch memory.
#pragma once

#include "kernels/gemm.h"

namespace conclave::kernels {

struct GemmCall : GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  Tensor workspace;
};

CONCLAVE_KERNEL_BACKENDS(gemm, GemmCall)

namespace cpu {
int64_t gemm_scratch_bytes(const GemmCall& call);
}
namespace cuda {
int64_t gemm_scratch_bytes(const GemmCall& call);
}

}  // namespace conclave::kernels
