#include "kernels/cuda/plain_product.h"

#include <cuda_bf16.h>

#include <algorithm>

#include "base/error.h"
#include "device/cuda/cuda_check.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256;

template <typename Sum, typename T>
__device__ Sum widened(T value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(value);
  } else {
    return value;
  }
}
template <typename T, typename Sum>
__device__ T narrowed(Sum value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

/// Part of a product that one block computes: `rows` rows from `a` and `c` on, `terms` of the sum.
struct Part {
  int64_t a_first = 0, b_first = 0, c_first = 0, bias_first = 0;
  int64_t rows = 0, terms = 0, top = 0;
};

/// Finds the block's group and its place in it; false if there is none.
__device__ bool find_part(const PlainProduct& p, Part& part) {
  part.rows = p.m;
  part.terms = p.k;
  part.top = static_cast<int64_t>(blockIdx.x) * kTile;
  if (p.groups == Groups::kSums) {
    const int64_t e = blockIdx.z, first = p.offsets[e];
    part.terms = p.offsets[e + 1] - first;
    part.a_first = first * p.a_sum;
    part.b_first = first * p.b_sum;
    part.c_first = e * p.c_expert;
    return part.terms > 0;
  }
  if (p.groups == Groups::kRows) {
    int64_t left = blockIdx.x;
    for (int64_t e = 0; e < p.experts; ++e) {
      const int64_t first = p.offsets[e], rows = p.offsets[e + 1] - first, tiles = (rows + kTile - 1) / kTile;
      if (left < tiles) {
        part = {first * p.a_row, e * p.b_expert, first * p.c_row, e * p.bias_expert, rows, p.k, left * kTile};
        return true;
      }
      left -= max(tiles, int64_t{0});
    }
    return false;
  }
  return true;
}

/// Brings `kTile` x `kDepth` elements: place i of the tile and p of the sum stand at to[p][i]; zeros outside.
template <typename Sum, typename In>
__device__ void fetch(Sum (*to)[kTile + 4], const In* from, int64_t stride, int64_t stride_of_sum, int64_t first,
                      int64_t count, int64_t term, int64_t terms) {
#pragma unroll
  for (int step = 0; step < kTile * kDepth / kThreads; ++step) {
    const int at = static_cast<int>(threadIdx.x) + step * kThreads;
    // Neighbouring threads read neighbouring elements, whichever way the matrix lies.
    const int i = stride_of_sum == 1 ? at / kDepth : at % kTile, p = stride_of_sum == 1 ? at % kDepth : at / kTile;
    const bool inside = first + i < count && term + p < terms;
    to[p][i] = inside ? widened<Sum>(from[(first + i) * stride + (term + p) * stride_of_sum]) : Sum(0);
  }
}

template <typename In, typename Out, typename Sum>
__device__ void write_out(const PlainProduct& p, const Part& part, const Sum (&sums)[4][4]) {
  const int row = static_cast<int>(threadIdx.x) / 16 * 4, column = static_cast<int>(threadIdx.x) % 16 * 4;
  const In* const bias = static_cast<const In*>(p.bias) + part.bias_first;
  Out* const c = static_cast<Out*>(p.c) + part.c_first;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t y = part.top + row + i, x = static_cast<int64_t>(blockIdx.y) * kTile + column + j;
      if (y >= part.rows || x >= p.n) continue;
      Sum value = sums[i][j];
      if (p.bias != nullptr) value += widened<Sum>(bias[x]);
      Out* const to = c + y * p.c_row + x;
      *to = narrowed<Out>(p.add ? widened<Sum>(*to) + value : value);
    }
  }
}

template <typename In, typename Out, typename Sum>
__global__ void __launch_bounds__(kThreads) product_tile(const PlainProduct p) {
  __shared__ Sum left[kDepth][kTile + 4], right[kDepth][kTile + 4];
  Part part;
  if (!find_part(p, part)) return;
  const In* const a = static_cast<const In*>(p.a) + part.a_first;
  const In* const b = static_cast<const In*>(p.b) + part.b_first;
  const int row = static_cast<int>(threadIdx.x) / 16 * 4, column = static_cast<int>(threadIdx.x) % 16 * 4;
  Sum sums[4][4] = {};
  for (int64_t term = 0; term < part.terms; term += kDepth) {
    fetch(left, a, p.a_row, p.a_sum, part.top, part.rows, term, part.terms);
    fetch(right, b, p.b_column, p.b_sum, static_cast<int64_t>(blockIdx.y) * kTile, p.n, term, part.terms);
    __syncthreads();
#pragma unroll
    for (int q = 0; q < kDepth; ++q) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += left[q][row + i] * right[q][column + j];
      }
    }
    __syncthreads();
  }
  write_out<In, Out, Sum>(p, part, sums);
}

template <typename In, typename Out, typename Sum>
__global__ void bias_rows(const PlainProduct p) {
  const int64_t count = p.m * p.n;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    Out* const to = static_cast<Out*>(p.c) + i / p.n * p.c_row + i % p.n;
    *to = narrowed<Out>(widened<Sum>(*to) + widened<Sum>(static_cast<const In*>(p.bias)[i % p.n]));
  }
}

/// Eight elements per thread where rows allow, so that memory is read in whole sectors.
template <int kAtOnce>
__global__ void rounded_sums(const RoundedSums add) {
  const int64_t units = add.n / kAtOnce, count = add.rows * units;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t row = i / units, column = i % units * kAtOnce;
    auto* const to = static_cast<__nv_bfloat16*>(add.c) + row * add.c_row + column;
    const float* const from = add.sums + row * add.n + column;
    struct alignas(kAtOnce * 2) Narrow {
      __nv_bfloat16 value[kAtOnce];
    } narrow = *reinterpret_cast<const Narrow*>(to);
    const struct alignas(kAtOnce * 4) Wide { float value[kAtOnce]; } wide = *reinterpret_cast<const Wide*>(from);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j)
      narrow.value[j] = __float2bfloat16_rn(__bfloat162float(narrow.value[j]) + wide.value[j]);
    *reinterpret_cast<Narrow*>(to) = narrow;
  }
}

/// One block per expert and 32 columns: eight rows at a time, then the eight sums in order.
template <typename In>
__global__ void __launch_bounds__(kThreads) column_sums(const ColumnSums s) {
  __shared__ float partial[8][32];
  const int64_t e = blockIdx.y, column = blockIdx.x * 32 + threadIdx.x % 32;
  const int64_t begin = s.offsets != nullptr ? s.offsets[e] : 0,
                end = s.offsets != nullptr ? s.offsets[e + 1] : s.count;
  const int first = static_cast<int>(threadIdx.x) / 32;
  float sum = 0;
  for (int64_t r = begin + first; r < end && column < s.n; r += 8)
    sum += widened<float>(static_cast<const In*>(s.rows)[r * s.leading + column]);
  partial[first][threadIdx.x % 32] = sum;
  __syncthreads();
  if (first != 0 || column >= s.n || end <= begin) return;
  for (int i = 1; i < 8; ++i) sum += partial[i][threadIdx.x];
  s.sums[e * s.n + column] += sum;
}

/// Calls visit(In{}, Out{}, Sum{}) for the dtypes of a product.
template <typename Visit>
void with_types(DType in, DType out, Visit visit) {
  if (in == DType::kF64 && out == DType::kF64) return visit(double{}, double{}, double{});
  if (in == DType::kF32 && out == DType::kF32) return visit(float{}, float{}, float{});
  if (in == DType::kBF16 && out == DType::kBF16) return visit(__nv_bfloat16{}, __nv_bfloat16{}, float{});
  if (in == DType::kBF16 && out == DType::kF32) return visit(__nv_bfloat16{}, float{}, float{});
  CONCLAVE_CHECK(false, "[kernels/cuda] a product of {} into {}", dtype_name(in), dtype_name(out));
}

unsigned tiles_of(int64_t size) { return static_cast<unsigned>((size + kTile - 1) / kTile); }

}  // namespace

void plain_product(const PlainProduct& p, cudaStream_t stream) {
  if (p.m == 0 || p.n == 0) return;
  dim3 grid(tiles_of(p.m), tiles_of(p.n));
  if (p.groups == Groups::kRows) grid.x += static_cast<unsigned>(p.experts);  // a group can end in a part of a tile
  if (p.groups == Groups::kSums) grid.z = static_cast<unsigned>(p.experts);
  if (grid.z == 0) return;
  with_types(p.in, p.out, [&](auto in, auto out, auto sum) {
    product_tile<decltype(in), decltype(out), decltype(sum)><<<grid, kThreads, 0, stream>>>(p);
  });
  CONCLAVE_CUDA(cudaGetLastError());
}

void add_row_bias(const PlainProduct& p, cudaStream_t stream) {
  if (p.m == 0 || p.n == 0) return;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((p.m * p.n + kThreads - 1) / kThreads, 4096));
  with_types(p.in, p.out, [&](auto in, auto out, auto sum) {
    bias_rows<decltype(in), decltype(out), decltype(sum)><<<blocks, kThreads, 0, stream>>>(p);
  });
  CONCLAVE_CUDA(cudaGetLastError());
}

void add_rounded(const RoundedSums& add, cudaStream_t stream) {
  if (add.rows == 0 || add.n == 0) return;
  const bool aligned = add.n % 8 == 0 && add.c_row % 8 == 0 && reinterpret_cast<uintptr_t>(add.c) % 16 == 0;
  const int64_t units = add.rows * add.n / (aligned ? 8 : 1);
  const auto blocks = static_cast<unsigned>(std::min<int64_t>((units + kThreads - 1) / kThreads, 4096));
  (aligned ? rounded_sums<8> : rounded_sums<1>)<<<blocks, kThreads, 0, stream>>>(add);
  CONCLAVE_CUDA(cudaGetLastError());
}

void add_column_sums(const ColumnSums& s, cudaStream_t stream) {
  if (s.n == 0 || s.experts == 0) return;
  const dim3 grid(static_cast<unsigned>((s.n + 31) / 32), static_cast<unsigned>(s.experts));
  if (s.in == DType::kBF16) {
    column_sums<__nv_bfloat16><<<grid, kThreads, 0, stream>>>(s);
  } else {
    column_sums<float><<<grid, kThreads, 0, stream>>>(s);
  }
  CONCLAVE_CUDA(cudaGetLastError());
}

}  // namespace conclave::kernels::cuda
