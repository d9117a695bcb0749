// Tiles of attention in shared memory and the small products between them. A block is 16 x 16 threads; thread (y, x)
// owns rows y + 16 i and columns x + 16 j of what it computes.
#pragma once

#include <cuda_bf16.h>

#include <climits>

#include "kernels/cuda/attention_plain.h"

namespace conclave::kernels::cuda {

inline constexpr int kAttentionThreads = 256;

__device__ __forceinline__ float as_float(float value) { return value; }
__device__ __forceinline__ float as_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void store_as(float* to, float value) { *to = value; }
__device__ __forceinline__ void store_as(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// Floats from row to row of a tile of rows of `size`: rows start in different banks, on 16 bytes.
__host__ __device__ constexpr int tile_stride(int size) { return (size + 31) / 32 * 32 + 4; }

/// Rows [0, count) of a matrix with rows `stride` apart into a tile; zeros in rows beyond and up to a multiple of four.
template <int kRows, typename T>
__device__ void fetch_tile(float* tile, const T* from, int64_t stride, int count, int size) {
  const int wide = (size + 3) / 4 * 4, apart = tile_stride(size);
  for (int i = threadIdx.x; i < kRows * wide; i += kAttentionThreads) {
    const int row = i / wide, d = i - row * wide;
    tile[row * apart + d] = row < count && d < size ? as_float(from[row * stride + d]) : 0.0f;
  }
}

/// sums[i][j] += row (y + 16 i) of left · row (x + 16 j) of right.
template <int kPer>
__device__ void add_row_products(float (&sums)[kPer][kPer], const float* left, const float* right, int size) {
  const int y = threadIdx.x / 16, x = threadIdx.x % 16, apart = tile_stride(size);
  for (int d = 0; d < size; d += 4) {
    float4 a[kPer], b[kPer];
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      a[i] = *reinterpret_cast<const float4*>(left + (y + 16 * i) * apart + d);
      b[i] = *reinterpret_cast<const float4*>(right + (x + 16 * i) * apart + d);
    }
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
#pragma unroll
      for (int j = 0; j < kPer; ++j)
        sums[i][j] += a[i].x * b[j].x + a[i].y * b[j].y + a[i].z * b[j].z + a[i].w * b[j].w;
    }
  }
}

/// sums[i][c] += sum over j < kRows of p(y + 16 i, j) * rows[j][x + 16 c], where p stands at
/// p[(y + 16 i) * p_row + j * p_column].
template <int kRows, int kPer, int kColumns>
__device__ void add_mixture(float (&sums)[kPer][kColumns], const float* p, int p_row, int p_column, const float* rows,
                            int size) {
  const int y = threadIdx.x / 16, x = threadIdx.x % 16, apart = tile_stride(size);
  for (int j = 0; j < kRows; ++j) {
    float weight[kPer];
#pragma unroll
    for (int i = 0; i < kPer; ++i) weight[i] = p[(y + 16 * i) * p_row + j * p_column];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (16 * c >= size) break;
      const float value = x + 16 * c < size ? rows[j * apart + x + 16 * c] : 0.0f;
#pragma unroll
      for (int i = 0; i < kPer; ++i) sums[i][c] += weight[i] * value;
    }
  }
}

/// Keys of the block that a query sees: [first, last].
struct Sight {
  int first, last;
  __device__ bool sees(int key) const { return key >= first && key <= last; }
};

template <typename T>
__device__ Sight sight_of(const PlainAttention<T>& a, int b, int query) {
  if (query >= a.queries) return {INT_MAX, -1};
  const int64_t self = a.first_query + query;
  int64_t first = 0, last = a.first_key + a.keys - 1;
  if (a.causal) last = min(last, self);
  if (a.window > 0) first = self - a.window + 1;
  if (a.document_starts != nullptr)
    first = max(first, static_cast<int64_t>(a.document_starts[static_cast<int64_t>(b) * a.queries + query]));
  first = max(first - a.first_key, int64_t{0});
  last -= a.first_key;
  return first > last ? Sight{INT_MAX, -1} : Sight{static_cast<int>(first), static_cast<int>(last)};
}

/// Whether any query of a tile sees any key of another: the same answer in every thread of the block.
template <int kTile, typename T>
__device__ bool tiles_meet(const PlainAttention<T>& a, int b, int top, int left) {
  bool some = false;
  if (threadIdx.x < kTile) {
    const Sight sight = sight_of(a, b, top + static_cast<int>(threadIdx.x));
    some = sight.first < left + kTile && sight.last >= left;
  }
  return __syncthreads_or(some ? 1 : 0) != 0;
}
/// First tile of queries that may see keys from `left` on.
template <int kTile, typename T>
__device__ int first_top(const PlainAttention<T>& a, int left) {
  if (!a.causal) return 0;
  const int64_t query = a.first_key + left - a.first_query;
  return query <= 0 ? 0 : static_cast<int>(min(query, static_cast<int64_t>(a.queries)) / kTile * kTile);
}

/// What dropout makes of a probability: 0, or one over the share that stays.
template <typename T>
__device__ __forceinline__ float kept(const PlainAttention<T>& a, int b, int head, int query, int key) {
  if (a.dropout == 0) return 1;
  const auto element = static_cast<uint64_t>(
      ((a.first_head + head) * a.all_queries + a.first_query + query) * a.all_keys + a.first_key + key);
  return a.streams[b - a.first_batch].uniform(element) >= a.dropout ? 1 / (1 - a.dropout) : 0.0f;
}

template <typename T>
__device__ __forceinline__ int64_t query_at(const PlainAttention<T>& a, int b, int head, int query) {
  return (static_cast<int64_t>(b) * a.heads + head) * a.queries + query;
}
template <typename T>
__device__ __forceinline__ int64_t key_at(const PlainAttention<T>& a, int b, int group, int key) {
  return (static_cast<int64_t>(b) * a.groups + group) * a.key_stride + key;
}
/// Row of out [S,B,n,Dv].
template <typename T>
__device__ __forceinline__ int64_t out_at(const PlainAttention<T>& a, int b, int head, int query) {
  return (static_cast<int64_t>(query) * a.batch + b) * a.heads + head;
}

template <int kPer, int kColumns>
__device__ void clear(float (&sums)[kPer][kColumns]) {
#pragma unroll
  for (int i = 0; i < kPer; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) sums[i][j] = 0;
  }
}

}  // namespace conclave::kernels::cuda
