#include "kernels/cases/performance_cases.h"

namespace conclave::kernels {

std::vector<OpFamily> performance_table() {
  // clang-format off
  return {
      {"activation", activation_performance_cases()},
      {"attention", attention_performance_cases()},
      {"cross_entropy", cross_entropy_performance_cases()},
      {"elementwise", elementwise_performance_cases()},
      {"embedding", embedding_performance_cases()},
      {"gemm", gemm_performance_cases()},
      {"grouped_gemm", grouped_gemm_performance_cases()},
      {"heads", heads_performance_cases()},
      {"norm", norm_performance_cases()},
      {"optimizer", optimizer_performance_cases()},
      {"permute", permute_performance_cases()},
      {"router", router_performance_cases()},
  };
  // clang-format on
}

}  // namespace conclave::kernels
