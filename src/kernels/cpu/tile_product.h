// Small matrix products that stay in registers and near caches: C (+)= A·B with A read one number at a time and B, C in
// vectors of sixteen. Each element of C is one chain of multiply-adds in order of k, whatever the tile it falls into,
// so its bits depend on nothing else.
#pragma once

#include <algorithm>

#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {

#ifdef __AVX512F__
inline constexpr int kAccumulators = 24;  // of 32 registers of sixteen lanes
#else
inline constexpr int kAccumulators = 6;  // sixteen lanes take two registers of sixteen
#endif

/// How C starts: at zero, at what it holds, or at what it holds times row_scale[r].
enum class TileStart { kZero, kAdd, kScaled };

/// C [rows, 16*vectors] = A [rows, depth] · B [depth, 16*vectors]. Element (r,k) of A stands at
/// a[r*a_row + k*a_depth]; row k of B at b + k*b_row; row r of C at c + r*c_row.
struct TileProduct {
  const float* a;
  int64_t a_row, a_depth;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  int64_t rows, vectors, depth;
  TileStart start = TileStart::kZero;
  const float* row_scale = nullptr;
};

namespace detail {

/// kRow: a_row where the compiler may know it (its loads then need one address register); 0 = p.a_row.
template <int kRows, int kVectors, int kRow>
void one_tile(const TileProduct& p, int64_t row, int64_t vector) {
  const int64_t a_row = kRow != 0 ? kRow : p.a_row;
  const float* a = p.a + row * a_row;
  const float* b = p.b + vector * kLanes;
  float* c = p.c + row * p.c_row + vector * kLanes;
  VecF sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = p.start == TileStart::kZero ? VecF{} : load(c + r * p.c_row + v * kLanes);
      if (p.start == TileStart::kScaled) sum[r][v] *= p.row_scale[row + r];
    }
  }
  for (int64_t k = 0; k < p.depth; ++k, a += p.a_depth, b += p.b_row) {
    VecF bk[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) bk[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VecF ak = broadcast(a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] += ak * bk[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c + r * p.c_row + v * kLanes, sum[r][v]);
  }
}

template <int kVectors, int kRow>
void tile_column(const TileProduct& p, int64_t vector) {
  constexpr int kRows = std::min(12, std::max(1, kAccumulators / kVectors));
  int64_t row = 0;
  for (; row + kRows <= p.rows; row += kRows) one_tile<kRows, kVectors, kRow>(p, row, vector);
  if constexpr (kRows > 4) {
    for (; row + 4 <= p.rows; row += 4) one_tile<4, kVectors, kRow>(p, row, vector);
  }
  if constexpr (kRows > 2) {
    for (; row + 2 <= p.rows; row += 2) one_tile<2, kVectors, kRow>(p, row, vector);
  }
  for (; row < p.rows; ++row) one_tile<1, kVectors, kRow>(p, row, vector);
}

}  // namespace detail

template <int kRow>
void tile_product(const TileProduct& p) {
  constexpr int kWidest = kAccumulators >= 24 ? 4 : 1;
  int64_t vector = 0;
  for (; vector + kWidest <= p.vectors; vector += kWidest) detail::tile_column<kWidest, kRow>(p, vector);
  if constexpr (kWidest > 1) {
    switch (p.vectors - vector) {
      case 3:
        return detail::tile_column<3, kRow>(p, vector);
      case 2:
        return detail::tile_column<2, kRow>(p, vector);
      case 1:
        return detail::tile_column<1, kRow>(p, vector);
      default:
        return;
    }
  }
}

}  // namespace conclave::kernels::cpu
