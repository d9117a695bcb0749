// Dense products by cuBLASLt: one plan per shape, chosen by its heuristics alone, so that every run takes the same.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace conclave::kernels::cuda {

/// c [m,n] (+)= op(a) [m,k] · op(b) [k,n] + bias [n], row-major, rows lda, ldb and ldc elements apart.
struct DenseProduct {
  DType in = DType::kF32, out = DType::kF32;
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false, add = false;
  int64_t lda = 0, ldb = 0, ldc = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;  ///< of `in`, or null
  void* c = nullptr;
};

/// Scratch that every product may use.
inline constexpr int64_t kDenseWorkspaceBytes = int64_t{32} << 20, kDenseWorkspaceAlignment = 256;

/// Deterministic: no sums by atomics. f32 is multiplied as f32 unless allow_tf32(true).
void dense_product(const DenseProduct& product, void* workspace, cudaStream_t stream);

/// --allow-tf32.
void allow_tf32(bool allowed);

/// One line per plan made so far, for people: sizes and the kernel that the heuristics chose.
std::vector<std::string> dense_plans();

}  // namespace conclave::kernels::cuda
