// Scores of queries against a block of keys, and like products: rows of numbers as they stand in memory, times a turned
// block. bf16 is multiplied in pairs where the machine can; a product of two bf16 numbers is exact in f32, so nothing
// is lost against f32 copies.
#pragma once

#include <type_traits>

#include "kernels/cpu/pair_vector.h"
#include "kernels/cpu/tile_product.h"

namespace conclave::kernels::cpu {

/// Whether blocks are turned into pairs rather than into f32 numbers.
template <typename T>
inline constexpr bool kTurnsPairs = kMachineHasPairs&& std::is_same_v<T, BF16>;

/// C [rows, 16*vectors] = A [rows, depth] · B [depth, 16*vectors], B in pairs: row p holds rows 2p and 2p+1.
struct PairTileProduct {
  const BF16* a;
  int64_t a_row;
  const uint32_t* b;
  int64_t b_row;  // words
  float* c;
  int64_t c_row;
  int64_t rows, vectors, depth;
};

namespace detail {

template <int kRows, int kVectors>
void one_pair_tile(const PairTileProduct& p, int64_t row, int64_t vector) {
  const int64_t a_row = p.a_row, b_row = p.b_row, depth = p.depth;
  const BF16* a = p.a + row * a_row;
  const uint32_t* b = p.b + vector * kLanes;
  VecF sum[kRows][kVectors] = {};
  const auto add = [&](auto word) CONCLAVE_INLINE_LAMBDA {
    VecU bk[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) std::memcpy(&bk[v], b + v * kLanes, sizeof bk[v]);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const VecU ak = broadcast_pair(word(a + r * a_row));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = add_pair_products(sum[r][v], ak, bk[v]);
    }
  };
  for (int64_t k = 0; k + 1 < depth; k += 2, a += 2, b += b_row) {
    add([](const BF16* at) CONCLAVE_INLINE_LAMBDA {
      uint32_t word;
      std::memcpy(&word, at, sizeof word);
      return word;
    });
  }
  if (depth % 2 != 0) add([](const BF16* at) CONCLAVE_INLINE_LAMBDA -> uint32_t { return at->bits; });
  float* c = p.c + row * p.c_row + vector * kLanes;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c + r * p.c_row + v * kLanes, sum[r][v]);
  }
}

template <int kVectors>
void pair_tile_column(const PairTileProduct& p, int64_t vector) {
  int64_t row = 0;
  for (; row + 6 <= p.rows; row += 6) one_pair_tile<6, kVectors>(p, row, vector);
  for (; row + 2 <= p.rows; row += 2) one_pair_tile<2, kVectors>(p, row, vector);
  if (row < p.rows) one_pair_tile<1, kVectors>(p, row, vector);
}

}  // namespace detail

inline void pair_tile_product(const PairTileProduct& p) {
  int64_t vector = 0;
  for (; vector + 4 <= p.vectors; vector += 4) detail::pair_tile_column<4>(p, vector);
  if (p.vectors - vector == 3) return detail::pair_tile_column<3>(p, vector);
  if (p.vectors - vector == 2) return detail::pair_tile_column<2>(p, vector);
  if (p.vectors - vector == 1) return detail::pair_tile_column<1>(p, vector);
}

}  // namespace conclave::kernels::cpu
