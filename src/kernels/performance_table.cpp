#include "kernels/cases/performance_cases.h"

namespace conclave::kernels {

std::vector<OpFamily> performance_table() {
  return {
      {"cross_entropy", cross_entropy_performance_cases()},
      {"gemm", gemm_performance_cases()},
      {"grouped_gemm", grouped_gemm_performance_cases()},
      {"optimizer", optimizer_performance_cases()},
  };
}

}  // namespace conclave::kernels
