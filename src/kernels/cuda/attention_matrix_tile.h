// Tiles of 64 rows of bf16 in shared memory and the products of matrix units between them. Eight warps: warp w owns
// rows 16 (w / 2) and every second block of 16 columns, from w % 2 on.
#pragma once

#include <cuda_bf16.h>
#include <mma.h>

#include <type_traits>

#include "kernels/cuda/attention_tile.h"

namespace conclave::kernels::cuda {

inline constexpr int kMatrixTile = 64;
inline constexpr int kScoreApart = kMatrixTile + 4;   ///< floats from row to row of scores
inline constexpr int kWeightApart = kMatrixTile + 8;  ///< bf16 from row to row of weights
inline constexpr int kScoreBytes = kMatrixTile * kScoreApart * 4, kWeightBytes = kMatrixTile * kWeightApart * 2;

using MatrixSums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

/// Elements from row to row: rows start in different banks, on 16 bytes.
__host__ __device__ constexpr int matrix_apart(int size) { return (size + 15) / 16 * 16 + 8; }
__host__ __device__ constexpr int matrix_tile_bytes(int size) { return kMatrixTile * matrix_apart(size) * 2; }

/// Rows [0, count) of a matrix with rows `stride` apart; zeros in rows beyond and up to a multiple of 16 columns.
static __device__ void fetch_rows(__nv_bfloat16* tile, const __nv_bfloat16* from, int64_t stride, int count, int size) {
  const int apart = matrix_apart(size), units = (size + 15) / 16 * 2;
  for (int i = threadIdx.x; i < kMatrixTile * units; i += kAttentionThreads) {
    const int row = i / units, unit = i - row * units;
    uint4 value = make_uint4(0, 0, 0, 0);
    if (row < count && unit * 8 < size) value = *reinterpret_cast<const uint4*>(from + row * stride + unit * 8);
    *reinterpret_cast<uint4*>(tile + row * apart + unit * 8) = value;
  }
}

/// to[i][j] = row i of left · row j of right.
static __device__ void row_products(float* to, const __nv_bfloat16* left, const __nv_bfloat16* right, int size) {
  using namespace nvcuda::wmma;
  const int apart = matrix_apart(size), warp = static_cast<int>(threadIdx.x) / 32, y = warp / 2 * 16, x = warp % 2 * 16;
  MatrixSums sums[2];
  fill_fragment(sums[0], 0.0f);
  fill_fragment(sums[1], 0.0f);
  for (int d = 0; d < size; d += 16) {
    fragment<matrix_a, 16, 16, 16, __nv_bfloat16, row_major> a;
    load_matrix_sync(a, left + y * apart + d, static_cast<unsigned>(apart));
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      fragment<matrix_b, 16, 16, 16, __nv_bfloat16, col_major> b;
      load_matrix_sync(b, right + (x + 32 * j) * apart + d, static_cast<unsigned>(apart));
      mma_sync(sums[j], a, b, sums[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) store_matrix_sync(to + y * kScoreApart + x + 32 * j, sums[j], kScoreApart, mem_row_major);
}

/// sums, of rows i, += sum over j of weight(i, j) times row j; kTurned: weight(j, i).
template <bool kTurned, int kColumns>
__device__ void add_weighted_rows(MatrixSums (&sums)[kColumns], const __nv_bfloat16* weights, const __nv_bfloat16* rows,
                                  int size) {
  using namespace nvcuda::wmma;
  using Layout = std::conditional_t<kTurned, col_major, row_major>;
  const int apart = matrix_apart(size), warp = static_cast<int>(threadIdx.x) / 32, y = warp / 2 * 16;
#pragma unroll 1
  for (int j = 0; j < kMatrixTile; j += 16) {
    fragment<matrix_a, 16, 16, 16, __nv_bfloat16, Layout> a;
    load_matrix_sync(a, weights + (kTurned ? j * kWeightApart + y : y * kWeightApart + j), kWeightApart);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int x = (2 * c + warp % 2) * 16;
      if (x >= size) break;
      fragment<matrix_b, 16, 16, 16, __nv_bfloat16, row_major> b;
      load_matrix_sync(b, rows + j * apart + x, static_cast<unsigned>(apart));
      mma_sync(sums[c], a, b, sums[c]);
    }
  }
}

template <int kColumns>
__device__ void clear(MatrixSums (&sums)[kColumns]) {
#pragma unroll
  for (int c = 0; c < kColumns; ++c) nvcuda::wmma::fill_fragment(sums[c], 0.0f);
}

/// Rows [0, count) of the sums to rows `stride` apart, through shared memory of 64 rows of `size` + 8 floats.
template <int kColumns>
__device__ void write_rows(__nv_bfloat16* to, int64_t stride, float* memory, const MatrixSums (&sums)[kColumns],
                           int count, int size) {
  const int apart = matrix_apart(size), warp = static_cast<int>(threadIdx.x) / 32;
  __syncthreads();
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
    const int x = (2 * c + warp % 2) * 16;
    if (x >= size) break;
    nvcuda::wmma::store_matrix_sync(memory + warp / 2 * 16 * apart + x, sums[c], static_cast<unsigned>(apart),
                                    nvcuda::wmma::mem_row_major);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kMatrixTile * size; i += kAttentionThreads) {
    const int row = i / size, d = i - row * size;
    if (row < count) store_as(to + row * stride + d, memory[row * apart + d]);
  }
}

}  // namespace conclave::kernels::cuda
