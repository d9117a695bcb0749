// The factors of a product as packed_product.cpp reads them: copied into panels of 32-bit words, so that the words that
// are multiplied together lie together. The right factor's panels are 64 columns wide, the left one's 8 rows.
#pragma once

#include <algorithm>

#include "kernels/cpu/packed_product.h"
#include "kernels/cpu/pair_vector.h"
#include "kernels/cpu/transpose.h"

namespace conclave::kernels::cpu {

inline constexpr int64_t kPanelRows = 8;
inline constexpr int64_t kGroupRows = 64;  ///< of the left factor that are packed at a time
inline constexpr int64_t kAhead = 16;      ///< rows from what is packed to what is asked for

/// What a word of a packed factor holds: two bf16 numbers, or one in f32.
struct Pair {
  using Number = BF16;
  static constexpr int64_t kTerms = 2;
  static VecF add(VecF sum, VecU a, VecU b) { return add_pair_products(sum, a, b); }
};
struct Single {
  using Number = float;
  static constexpr int64_t kTerms = 1;
  static VecF add(VecF sum, VecU a, VecU b) { return sum + std::bit_cast<VecF>(a) * std::bit_cast<VecF>(b); }
};

/// Words of a panel of either factor. Panels of the left one are written side by side: without the gap they would fall
/// into the same cache sets.
inline int64_t right_panel_words(int64_t words) { return words * kPanelColumns; }
inline int64_t left_panel_words(int64_t words) { return words * kPanelRows + kLanes; }

/// The terms of one word: rows of a factor from `source` on, `rows` of them in all.
template <typename Unit>
struct TermRows {
  const typename Unit::Number* source;
  int64_t stride, rows;

  /// Sixteen columns from j on, of which `count` exist.
  VecU words(int64_t j, int64_t count) const {
    if constexpr (Unit::kTerms == 2) {
      return interleave(load_bits(source + j, count), rows > 1 ? load_bits(source + stride + j, count) : VecH{});
    } else {
      if (count <= 0) return VecU{};
      return std::bit_cast<VecU>(count >= kLanes ? load(source + j) : load_first(source + j, count));
    }
  }
  VecU whole_words(int64_t j) const {
    if constexpr (Unit::kTerms == 2) {
      return interleave(load_bits(source + j), load_bits(source + stride + j));
    } else {
      return std::bit_cast<VecU>(load(source + j));
    }
  }
  __attribute__((always_inline)) void ask() const {
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(typename Unit::Number));
#pragma GCC unroll 2
    for (int64_t term = 0; term < Unit::kTerms; ++term) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < kPanelColumns; j += kLine) __builtin_prefetch(source + (kAhead + term) * stride + j);
    }
  }
};

/// 64 columns of the terms of a word, of which `count` exist; the rest is zero.
template <typename Unit>
__attribute__((always_inline)) inline void pack_word(const TermRows<Unit>& rows, int64_t count, uint32_t* out) {
  if (rows.rows >= Unit::kTerms && count >= kPanelColumns) {
    if (rows.rows >= kAhead + Unit::kTerms) rows.ask();
#pragma GCC unroll 4
    for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
      const VecU words = rows.whole_words(j);
      std::memcpy(out + j, &words, sizeof words);
    }
    return;
  }
  for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
    const VecU words = rows.words(j, count - j);
    std::memcpy(out + j, &words, sizeof words);
  }
}

/// A panel of the right factor: columns [0, count) of rows [0, depth) of source; the rest is zero.
template <typename Unit>
void pack_rows(const typename Unit::Number* source, int64_t stride, int64_t depth, int64_t count, uint32_t* out) {
  for (int64_t k = 0; k < depth; k += Unit::kTerms, out += kPanelColumns)
    pack_word<Unit>({source + k * stride, stride, depth - k}, count, out);
}

/// The same of a source that is stored [columns, depth].
template <typename Unit>
void pack_columns(const typename Unit::Number* source, int64_t stride, int64_t depth, int64_t count, uint32_t* out) {
  const int64_t words = ceil_div(depth, Unit::kTerms);
  for (int64_t j = 0; j < kPanelColumns; j += kLanes) {
    for (int64_t p = 0; p < words; p += kLanes) {
      VecF rows[kLanes];
      const typename Unit::Number* at = source + j * stride + Unit::kTerms * p;
      const int64_t terms = depth - Unit::kTerms * p;
      if (j + kLanes <= count && terms >= Unit::kTerms * kLanes) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < kLanes; ++r) std::memcpy(&rows[r], at + r * stride, sizeof rows[r]);
        if (j + 2 * kLanes <= count) {
#pragma GCC unroll 16
          for (int64_t r = 0; r < kLanes; ++r) __builtin_prefetch(at + (kLanes + r) * stride);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int64_t r = 0; r < kLanes; ++r) std::memcpy(out + (p + r) * kPanelColumns + j, &rows[r], sizeof rows[r]);
        continue;
      }
      const size_t bytes = static_cast<size_t>(std::min(Unit::kTerms * kLanes, terms)) * sizeof *at;
      for (int64_t r = 0; r < kLanes; ++r) {
        rows[r] = VecF{};
        if (j + r < count) std::memcpy(&rows[r], at + r * stride, bytes);
      }
      transpose(rows);
      for (int64_t r = 0; r < std::min(kLanes, words - p); ++r)
        std::memcpy(out + (p + r) * kPanelColumns + j, &rows[r], sizeof rows[r]);
    }
  }
}

/// Panels of up to 64 rows of the left factor, stored [depth, rows]: each [words, 8 rows].
template <typename Unit>
void pack_left(const typename Unit::Number* source, int64_t stride, int64_t depth, int64_t rows, uint32_t* out) {
  const int64_t panel = left_panel_words(ceil_div(depth, Unit::kTerms));
  alignas(64) uint32_t words[kGroupRows];
  static_assert(kGroupRows == kPanelColumns);
  for (int64_t k = 0; k < depth; k += Unit::kTerms, out += kPanelRows) {
    pack_word<Unit>({source + k * stride, stride, depth - k}, rows, words);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kGroupRows / kPanelRows; ++i)
      std::memcpy(out + i * panel, words + i * kPanelRows, kPanelRows * sizeof(uint32_t));
  }
}

/// Memory that the next panel is packed from: asked for while tiles are added up, a few lines beside each.
class Ahead {
 public:
  static constexpr int64_t kLine = 64;
  Ahead() = default;
  /// `rows` rows of `bytes` bytes each.
  Ahead(const std::byte* first, int64_t stride, int64_t rows, int64_t bytes)
      : row_(first), stride_(stride), rows_(rows), per_row_(ceil_div(bytes, kLine)) {}

  int64_t lines() const { return rows_ * per_row_; }
  void ask(int64_t count) {
    for (; count > 0 && rows_ > 0; --count) {
      __builtin_prefetch(row_ + line_ * kLine, 0, 2);
      if (++line_ < per_row_) continue;
      line_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  const std::byte* row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0, per_row_ = 0, line_ = 0;
};

}  // namespace conclave::kernels::cpu
