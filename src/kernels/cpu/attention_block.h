// What the forward and backward pass of attention share: which keys a query sees, and blocks of keys in the form that
// the tile products read.
#pragma once

#include <omp.h>

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/attention_backend.h"
#include "kernels/cpu/score_product.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/vector_random.h"

namespace conclave::kernels::cpu {

inline constexpr int64_t kKeyBlock = 64;  // keys of a block: scores of a row are four vectors
inline constexpr int64_t kBlockVectors = kKeyBlock / kLanes;
inline constexpr int64_t kRowTile = 12;  // queries that go through softmax together

inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

inline int64_t padded(int64_t size) { return round_up(size, kLanes); }

/// Threads worth starting for `items` pieces of this work.
inline int64_t attention_threads(const AttentionShape& shape, int64_t items) {
  constexpr int64_t kSmall = 1 << 18;  // products of one number with another
  const int64_t work = shape.batch * shape.heads * shape.queries * shape.keys * (shape.size + shape.value_size);
  return work < kSmall ? 1 : std::clamp<int64_t>(omp_get_max_threads(), 1, std::max<int64_t>(items, 1));
}

/// body(item, scratch of the thread) for each item, handed out one by one; a row of `scratch` for each thread.
template <typename Body>
void for_each_attention_item(const Tensor& scratch, int64_t items, Body body) {
  float* data = scratch.data<float>();
  const int64_t stride = scratch.size(1);
  const int threads = static_cast<int>(scratch.size(0));
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t item = 0; item < items; ++item) body(item, data + omp_get_thread_num() * stride);
}

struct KeyRange {
  int64_t first, last;  // [first, last)
};

/// Which keys the queries of one sequence see.
struct Visibility {
  bool causal;
  int64_t window, offset, keys;
  int64_t first_key;      // position of key 0
  const int32_t* starts;  // of this sequence, or null

  KeyRange of(int64_t query) const {
    const int64_t self = query + offset;
    KeyRange range{0, keys};
    if (causal) range.last = std::min(keys, self + 1);
    if (window > 0) range.first = std::max<int64_t>(0, self + 1 - window);
    if (starts != nullptr) range.first = std::max<int64_t>(range.first, starts[query] - first_key);
    return range;
  }
  /// Covers what queries [begin, end) see; documents only by way of each query.
  KeyRange of_rows(int64_t begin, int64_t end) const {
    KeyRange all{keys, 0};
    for (int64_t i = begin; i < end; ++i) {
      const KeyRange range = of(i);
      if (range.first >= range.last) continue;
      all.first = std::min(all.first, range.first);
      all.last = std::max(all.last, range.last);
    }
    return all;
  }
};

inline Visibility visibility(const AttentionMask& mask, const AttentionShape& shape, int64_t b) {
  const int32_t* starts = mask.document_starts ? mask.document_starts.data<int32_t>() + b * shape.queries : nullptr;
  return {mask.causal, mask.window, shape.offset(), shape.keys, shape.place.first_key, starts};
}

/// A tile of at most kRowTile queries against one block of keys: what each row sees of it, relative to the block.
struct TileRange {
  int64_t rows = 0;
  int64_t begin = kKeyBlock, end = 0;         // keys that any row sees; none where begin >= end
  bool whole = true;                          // every row sees all of [begin, end), and these are whole vectors
  std::array<int32_t, kRowTile> first, last;  // of each row, where not whole

  TileRange(const Visibility& sight, int64_t row, int64_t count, int64_t block) : rows(count) {
    if (sight.starts == nullptr) {
      // Both ends of what a query sees only grow from row to row.
      const KeyRange top = sight.of(row), bottom = sight.of(row + count - 1);
      if (bottom.first <= block && top.last >= block + kKeyBlock) {
        begin = 0;
        end = kKeyBlock;
        return;
      }
      if (top.first >= block + kKeyBlock || bottom.last <= block) return;
    }
    limit_rows(sight, row, block);
  }
  bool empty() const { return begin >= end; }
  int64_t first_vector() const { return begin / kLanes; }
  int64_t last_vector() const { return ceil_div(end, kLanes); }
  /// Lanes of vector v that row r sees.
  VecI seen(int64_t r, int64_t v) const {
    const VecI key = lane_index() + static_cast<int32_t>(v * kLanes);
    return (key >= first[static_cast<size_t>(r)]) & (key < last[static_cast<size_t>(r)]);
  }

 private:
  void limit_rows(const Visibility& sight, int64_t row, int64_t block) {
    for (int64_t r = 0; r < rows; ++r) {
      const KeyRange range = sight.of(row + r);
      const int64_t low = std::clamp<int64_t>(range.first - block, 0, kKeyBlock);
      const int64_t high = std::clamp<int64_t>(range.last - block, low, kKeyBlock);
      first[static_cast<size_t>(r)] = static_cast<int32_t>(low);
      last[static_cast<size_t>(r)] = static_cast<int32_t>(high);
      if (low == high) continue;
      begin = std::min(begin, low);
      end = std::max(end, high);
    }
    whole = begin % kLanes == 0 && end % kLanes == 0;
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) whole = whole && first[r] == begin && last[r] == end;
  }
};

/// Rows that a tile product reads as B: a place in memory, or a copy whose rows are whole vectors.
struct FloatRows {
  const float* data;
  int64_t stride;
};

template <typename T>
void copy_rows(const T* source, int64_t stride, int64_t count, int64_t size, float* target) {
  for (int64_t r = 0; r < count; ++r) {
    for_each_vector(size, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      store(target + r * padded(size) + j, load_some(source + r * stride + j, n));
    });
  }
}

/// Whether rows of `size` elements must be copied before a tile product can read them as vectors.
template <typename T>
constexpr bool needs_copy(int64_t size) {
  return !std::is_same_v<T, float> || size % kLanes != 0;
}

/// `scratch` has count * padded(size) floats; used where rows cannot be read in place.
template <typename T>
FloatRows float_rows(const T* source, int64_t count, int64_t size, float* scratch) {
  if constexpr (std::is_same_v<T, float>) {
    if (!needs_copy<T>(size)) return {source, size};
  }
  copy_rows(source, size, count, size, scratch);
  return {scratch, padded(size)};
}

/// out [size, kKeyBlock] = the first `count` rows of source [*, size], turned; keys beyond are zero.
template <typename T>
void transpose_keys(const T* source, int64_t count, int64_t size, float* out) {
  for (int64_t key = 0; key < kKeyBlock; key += kLanes) {
    for_each_vector(size, [&](int64_t d, int64_t n) CONCLAVE_INLINE_LAMBDA {
      VecF rows[kLanes];
      if (key + kLanes <= count) {
        for (int64_t r = 0; r < kLanes; ++r) rows[r] = load_some(source + (key + r) * size + d, n);
      } else {
        for (int64_t r = 0; r < kLanes; ++r)
          rows[r] = key + r < count ? load_some(source + (key + r) * size + d, n) : VecF{};
      }
      transpose(rows);
      for (int64_t r = 0; r < n; ++r) store(out + (d + r) * kKeyBlock + key, rows[r]);
    });
  }
}

/// Keys turned for scores: words [D/2 rounded up, kKeyBlock] of pairs, or numbers [D, kKeyBlock].
template <typename T>
void turn_keys(const T* source, int64_t count, int64_t size, float* out) {
  if constexpr (!kTurnsPairs<T>) return transpose_keys(source, count, size, out);
  for (int64_t key = 0; key < kKeyBlock; key += kLanes) {
    for (int64_t d = 0; d < size; d += 2 * kLanes) {
      VecF rows[kLanes];
      const int64_t n = std::min(2 * kLanes, size - d);
      for (int64_t r = 0; r < kLanes; ++r) {
        rows[r] = VecF{};
        if (key + r >= count) continue;
        const T* at = source + (key + r) * size + d;
        n == 2 * kLanes ? std::memcpy(&rows[r], at, sizeof rows[r])
                        : std::memcpy(&rows[r], at, static_cast<size_t>(n) * sizeof(T));
      }
      transpose(rows);
      for (int64_t r = 0; r < ceil_div(n, 2); ++r) store(out + (d / 2 + r) * kKeyBlock + key, rows[r]);
    }
  }
}

/// Rows that scores are made of: as they stand where pairs are multiplied, else in f32.
template <typename T>
using ScoreNumber = std::conditional_t<kTurnsPairs<T>, BF16, float>;
template <typename T>
struct ScoreRows {
  const ScoreNumber<T>* data = nullptr;
  int64_t stride = 0;
};

/// scores [range.rows, kKeyBlock], where the range has any: rows from `row` on, times turned keys.
template <typename T>
void score_tile(const ScoreRows<T>& rows, int64_t row, int64_t depth, const float* turned, const TileRange& range,
                float* scores) {
  const int64_t skip = range.first_vector() * kLanes, vectors = range.last_vector() - range.first_vector();
  if constexpr (kTurnsPairs<T>) {
    pair_tile_product({.a = rows.data + row * rows.stride,
                       .a_row = rows.stride,
                       .b = reinterpret_cast<const uint32_t*>(turned) + skip,
                       .b_row = kKeyBlock,
                       .c = scores + skip,
                       .c_row = kKeyBlock,
                       .rows = range.rows,
                       .vectors = vectors,
                       .depth = depth});
  } else {
    tile_product<0>({.a = rows.data + row * rows.stride,
                     .a_row = rows.stride,
                     .a_depth = 1,
                     .b = turned + skip,
                     .b_row = kKeyBlock,
                     .c = scores + skip,
                     .c_row = kKeyBlock,
                     .rows = range.rows,
                     .vectors = vectors,
                     .depth = depth});
  }
}

/// Dropout on the probabilities of one sequence: keys are kept and scaled up, or multiplied by zero.
struct Dropout {
  const RandomStream* stream = nullptr;  // null: none
  uint32_t threshold = 0;
  float scale = 1;

  Dropout(const AttentionDropout& dropout, int64_t b) {
    if (dropout.rate == 0) return;
    stream = &dropout.streams[static_cast<size_t>(b)];
    threshold = keep_threshold(dropout.rate);
    scale = 1.0f / (1.0f - dropout.rate);
  }
  explicit operator bool() const { return stream != nullptr; }
  /// Applies to a block's keys, the first of which is `element` of the stream.
  void apply(int64_t element, float* row) const {
    alignas(64) uint32_t bits[kKeyBlock];
    random_bits(*stream, static_cast<uint64_t>(element), kKeyBlock, bits);
    for (int64_t v = 0; v < kKeyBlock; v += kLanes) {
      VecU lanes;
      std::memcpy(&lanes, bits + v, sizeof lanes);
      store(row + v, lanes >= threshold ? load(row + v) * scale : VecF{});
    }
  }
};

}  // namespace conclave::kernels::cpu
