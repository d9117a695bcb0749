// The families of performance_table(), each made in its own file here. Shapes are those of the benchmark model (H=256,
// F=512, E=16, K=2, V=8192, T=2048) unless a name says otherwise.
#pragma once

#include "kernels/op_case.h"

namespace conclave::kernels {

std::vector<OpCase> activation_performance_cases();
std::vector<OpCase> attention_performance_cases();
std::vector<OpCase> cross_entropy_performance_cases();
std::vector<OpCase> elementwise_performance_cases();
std::vector<OpCase> embedding_performance_cases();
std::vector<OpCase> gemm_performance_cases();
std::vector<OpCase> grouped_gemm_performance_cases();
std::vector<OpCase> heads_performance_cases();
std::vector<OpCase> norm_performance_cases();
std::vector<OpCase> optimizer_performance_cases();
std::vector<OpCase> permute_performance_cases();
std::vector<OpCase> router_performance_cases();

}  // namespace conclave::kernels
