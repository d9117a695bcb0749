// Products by ordinary arithmetic: any size, stride and alignment; f32 stays f32. What the matrix units do not take.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/dtype.h"

namespace conclave::kernels::cuda {

/// What the groups of rows cut: nothing, the rows of the output, or the sum.
enum class Groups { kNone, kRows, kSums };

/// c(i,j) (+)= sum over p of a(i,p) b(p,j), + bias(j). Strides in elements. With groups, expert e owns rows (or terms
/// of the sum) [offsets[e], offsets[e+1]), and b, bias or c move on by a stride from expert to expert.
struct PlainProduct {
  DType in = DType::kF32, out = DType::kF32;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;  ///< of `in`, or null
  void* c = nullptr;
  int64_t m = 0, n = 0, k = 0;
  int64_t a_row = 0, a_sum = 0, b_sum = 0, b_column = 0, c_row = 0;
  bool add = false;
  Groups groups = Groups::kNone;
  const int64_t* offsets = nullptr;
  int64_t experts = 1, b_expert = 0, bias_expert = 0, c_expert = 0;
};
void plain_product(const PlainProduct& product, cudaStream_t stream);

/// c [m,n] += bias [n], rows c_row apart.
void add_row_bias(const PlainProduct& product, cudaStream_t stream);

/// c [rows,N] bf16 += sums [rows,N] f32, rounded once; rows of c are c_row elements apart.
struct RoundedSums {
  const float* sums = nullptr;
  void* c = nullptr;
  int64_t rows = 0, n = 0, c_row = 0;
};
void add_rounded(const RoundedSums& add, cudaStream_t stream);

/// sums [E,N] f32 += column sums of each expert's rows of `rows` [P,N], `leading` elements apart. Without offsets there
/// is one group of `count` rows.
struct ColumnSums {
  DType in = DType::kF32;
  const void* rows = nullptr;
  const int64_t* offsets = nullptr;
  float* sums = nullptr;
  int64_t experts = 0, n = 0, leading = 0, count = 0;
};
void add_column_sums(const ColumnSums& sums, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
