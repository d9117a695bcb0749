#include "kernels/cpu/pair_product.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/pair_vector.h"
#include "kernels/cpu/transpose.h"

// The factor on the right is packed by panels of 64 columns, so that a pair of its rows is four vectors of words. A row
// of the left factor holds its pairs already and is read in place; where it is stored transposed it is packed too, by
// panels of eight rows, 64 rows at a time against all columns of the block. Tiles of C stay in registers: 6 rows by 4
// vectors, or 8 by 2 where the left factor is packed. Packing reads pieces of rows that lie far apart, which no
// machine foresees: they are asked for in time.
namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kVectors = kPairColumns / kLanes;  // of a panel
constexpr int64_t kDepth = 1024;                     // terms of a sum that are packed at a time
constexpr int64_t kPanelRows = 8;
constexpr int64_t kGroupRows = 64;                          // of the left factor that are packed at a time
constexpr int64_t kPackedRows = 512, kPackedColumns = 512;  // of a block, at most, where both factors are packed
constexpr int64_t kFewestRows = 16;
constexpr int64_t kAhead = 16;  // rows from what is packed to what is asked for

int64_t pairs_of(int64_t depth) { return ceil_div(depth, 2); }
bool packs_both(const MatmulSpec& spec) { return spec.transpose_a == Transpose::kYes; }
/// bf16 results of sums that are cut are summed up elsewhere.
bool needs_sums(const MatmulSpec& spec) { return spec.c_dtype == DType::kBF16 && spec.k > kDepth; }

/// Words of a panel of either factor. Panels of the left one are written side by side: without the gap they would fall
/// into the same cache sets.
int64_t right_words(int64_t depth) { return pairs_of(depth) * kPairColumns; }
int64_t left_words(int64_t depth) { return pairs_of(depth) * kPanelRows + kLanes; }

int64_t right_bytes(const MatmulSpec& spec, const PairGrid& grid) {
  const int64_t panels = packs_both(spec) ? ceil_div(grid.columns, kPairColumns) : 1;
  return panels * right_words(std::min(spec.k, kDepth)) * 4;
}
int64_t left_bytes(const MatmulSpec& spec) {
  return packs_both(spec) ? kGroupRows / kPanelRows * left_words(std::min(spec.k, kDepth)) * 4 : 0;
}
int64_t sum_bytes(const MatmulSpec& spec, const PairGrid& grid) {
  return needs_sums(spec) ? grid.rows * kPairColumns * static_cast<int64_t>(sizeof(float)) : 0;
}

/// Columns [0, count) of a pair of rows, side by side, into up to 64 words; the rest is zero. `odd` may be null.
__attribute__((always_inline)) inline void pack_pair(const BF16* even, const BF16* odd, int64_t count, uint32_t* out) {
#pragma GCC unroll 4
  for (int64_t j = 0; j < kPairColumns; j += kLanes) {
    const VecU words =
        interleave(load_bits(even + j, count - j), odd != nullptr ? load_bits(odd + j, count - j) : VecH{});
    std::memcpy(out + j, &words, sizeof words);
  }
}

/// The same of 64 columns.
__attribute__((always_inline)) inline void pack_whole_pair(const BF16* even, const BF16* odd, uint32_t* out) {
#pragma GCC unroll 4
  for (int64_t j = 0; j < kPairColumns; j += kLanes) {
    const VecU words = interleave(load_bits(even + j), load_bits(odd + j));
    std::memcpy(out + j, &words, sizeof words);
  }
}

/// Asks for 64 columns of a pair of rows.
__attribute__((always_inline)) inline void ask_for_pair(const BF16* source, int64_t stride) {
  __builtin_prefetch(source);
  __builtin_prefetch(source + kPairColumns / 2);
  __builtin_prefetch(source + stride);
  __builtin_prefetch(source + stride + kPairColumns / 2);
}

/// A panel of the right factor: columns [0, count) of rows [0, depth) of source; the rest is zero.
void pack_rows(const BF16* source, int64_t stride, int64_t depth, int64_t count, uint32_t* out) {
  for (int64_t k = 0; k < depth; k += 2, source += 2 * stride, out += kPairColumns) {
    if (k + 1 < depth && count >= kPairColumns) {
      if (k + kAhead + 1 < depth) ask_for_pair(source + kAhead * stride, stride);
      pack_whole_pair(source, source + stride, out);
    } else {
      pack_pair(source, k + 1 < depth ? source + stride : nullptr, count, out);
    }
  }
}

/// The same of a source that is stored [columns, depth].
void pack_columns(const BF16* source, int64_t stride, int64_t depth, int64_t count, uint32_t* out) {
  const int64_t pairs = pairs_of(depth);
  for (int64_t j = 0; j < kPairColumns; j += kLanes) {
    for (int64_t p = 0; p < pairs; p += kLanes) {
      VecF rows[kLanes];
      const BF16* at = source + j * stride + 2 * p;
      const int64_t terms = depth - 2 * p;
      if (j + kLanes <= count && terms >= 2 * kLanes) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < kLanes; ++r) std::memcpy(&rows[r], at + r * stride, sizeof rows[r]);
        if (j + 2 * kLanes <= count) {
#pragma GCC unroll 16
          for (int64_t r = 0; r < kLanes; ++r) __builtin_prefetch(at + (kLanes + r) * stride);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int64_t r = 0; r < kLanes; ++r) std::memcpy(out + (p + r) * kPairColumns + j, &rows[r], sizeof rows[r]);
        continue;
      }
      for (int64_t r = 0; r < kLanes; ++r) {
        rows[r] = VecF{};
        if (j + r < count)
          std::memcpy(&rows[r], at + r * stride, static_cast<size_t>(std::min(2 * kLanes, terms)) * sizeof(BF16));
      }
      transpose(rows);
      for (int64_t r = 0; r < std::min(kLanes, pairs - p); ++r)
        std::memcpy(out + (p + r) * kPairColumns + j, &rows[r], sizeof rows[r]);
    }
  }
}

/// Panels of up to 64 rows of the left factor, stored [depth, rows]: each [pairs, 8 words].
void pack_left(const BF16* source, int64_t stride, int64_t depth, int64_t rows, uint32_t* out) {
  const int64_t panel = left_words(depth);
  alignas(64) uint32_t words[kGroupRows];
  static_assert(kGroupRows == kPairColumns);
  for (int64_t k = 0; k < depth; k += 2, source += 2 * stride, out += kPanelRows) {
    if (k + 1 < depth && rows >= kGroupRows) {
      if (k + kAhead + 1 < depth) ask_for_pair(source + kAhead * stride, stride);
      pack_whole_pair(source, source + stride, words);
    } else {
      pack_pair(source, k + 1 < depth ? source + stride : nullptr, rows, words);
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < kGroupRows / kPanelRows; ++i)
      std::memcpy(out + i * panel, words + i * kPanelRows, kPanelRows * sizeof(uint32_t));
  }
}

/// What is added up in tiles and where it goes: some rows against one panel.
struct TileRows {
  const BF16* rows = nullptr;  // of the left factor, in place
  int64_t stride = 0;
  const uint32_t* left = nullptr;  // or its panels
  const uint32_t* right = nullptr;
  int64_t depth = 0;
  const float* start = nullptr;  // what the sums of each column begin with
  std::byte* c = nullptr;
  int64_t ldc = 0;
  DType c_dtype = DType::kF32;
  bool add = false;
  int64_t row_count = 0, column_count = 0;

  int64_t c_size() const { return c_dtype == DType::kF32 ? 4 : 2; }
};

/// One tile of them.
struct TilePlace {
  int64_t row = 0, rows = 0;
  int64_t vector = 0;  // of the panel
};

template <typename C>
void finish(C* c, VecF sum, bool add, int64_t count) {
  if (add) sum += load_some(c, count);
  store_some(c, sum, count);
}

/// sums [rows, stride] to C.
template <typename C>
void finish_rows(const TileRows& t, const TilePlace& place, const float* sums, int64_t stride) {
  const int64_t column = place.vector * kLanes, width = std::min(t.column_count - column, stride);
  C* c = reinterpret_cast<C*>(t.c) + place.row * t.ldc + column;
  for (int64_t r = 0; r < place.rows; ++r, c += t.ldc, sums += stride) {
    for_each_vector(
        width, [&](int64_t j, int64_t count) CONCLAVE_INLINE_LAMBDA { finish(c + j, load(sums + j), t.add, count); });
  }
}

/// Sums that met a call while in registers would live in memory all the time: they leave together.
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void finish_tile(const TileRows& t, const TilePlace& place,
                                                       const VecF (&sum)[kRows][kColumns]) {
  alignas(64) float sums[kRows * kColumns * kLanes];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) store(sums + (r * kColumns + v) * kLanes, sum[r][v]);
  }
  t.c_dtype == DType::kF32 ? finish_rows<float>(t, place, sums, kColumns * kLanes)
                           : finish_rows<BF16>(t, place, sums, kColumns * kLanes);
}

/// The results are asked for from far memory while the sums are made.
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void start_tile(const TileRows& t, const TilePlace& place,
                                                      VecF (&sum)[kRows][kColumns]) {
  const int64_t size = t.c_size(), column = place.vector * kLanes;
  const int64_t width = std::min<int64_t>(t.column_count - column, kColumns * kLanes) * size;
  const std::byte* c = t.c + (place.row * t.ldc + column) * size;
  for (int64_t r = 0; r < place.rows; ++r, c += t.ldc * size) {
    for (int64_t byte = 0; byte < width; byte += 64) __builtin_prefetch(c + byte, 1);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[r][v] = load(t.start + column + v * kLanes);
  }
}

/// words(r) is the word of row r of the left factor.
template <int kRows, int kColumns, typename Words>
__attribute__((always_inline)) inline void add_pair(const uint32_t* right, Words words, VecF (&sum)[kRows][kColumns]) {
  VecU b[kColumns];
#pragma GCC unroll 4
  for (int v = 0; v < kColumns; ++v) std::memcpy(&b[v], right + v * kLanes, sizeof b[v]);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const VecU a = broadcast_pair(words(r));
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[r][v] = add_pair_products(sum[r][v], a, b[v]);
  }
}

template <int kRows, int kColumns>
void tile_in_place(const TileRows& t, int64_t row, int64_t vector) {
  const TilePlace place{row, kRows, vector};
  VecF sum[kRows][kColumns];
  start_tile(t, place, sum);
  const int64_t depth = t.depth, stride = t.stride;
  const uint32_t* right = t.right + vector * kLanes;
  const BF16* rows = t.rows + row * stride;
  for (int64_t k = 0; k + 1 < depth; k += 2, rows += 2, right += kPairColumns) {
    const auto words = [&](int r) CONCLAVE_INLINE_LAMBDA {
      uint32_t word;
      std::memcpy(&word, rows + r * stride, sizeof word);
      return word;
    };
    add_pair(right, words, sum);
  }
  if (depth % 2 != 0)
    add_pair(
        right, [&](int r) CONCLAVE_INLINE_LAMBDA -> uint32_t { return rows[r * stride].bits; }, sum);
  finish_tile(t, place, sum);
}

template <int kColumns>
void tile_packed(const TileRows& t, const uint32_t* left, int64_t row, int64_t vector) {
  const TilePlace place{row, std::min(kPanelRows, t.row_count - row), vector};
  VecF sum[kPanelRows][kColumns];
  start_tile(t, place, sum);
  const uint32_t* right = t.right + vector * kLanes;
  for (int64_t pairs = pairs_of(t.depth); pairs > 0; --pairs, left += kPanelRows, right += kPairColumns)
    add_pair(
        right, [&](int r) CONCLAVE_INLINE_LAMBDA { return left[r]; }, sum);
  finish_tile(t, place, sum);
}

template <int kRows>
void row_tile_in_place(const TileRows& t, int64_t row) {
  const int64_t vectors = ceil_div(t.column_count, kLanes);
  if (vectors == kVectors) return tile_in_place<kRows, kVectors>(t, row, 0);
  int64_t vector = 0;
  if (vectors >= 2) {
    tile_in_place<kRows, 2>(t, row, 0);
    vector = 2;
  }
  if (vector < vectors) tile_in_place<kRows, 1>(t, row, vector);
}

void rows_in_place(const TileRows& t) {
  int64_t row = 0;
  for (; row + 6 <= t.row_count; row += 6) row_tile_in_place<6>(t, row);
  if (row + 4 <= t.row_count) {
    row_tile_in_place<4>(t, row);
    row += 4;
  }
  if (row + 2 <= t.row_count) {
    row_tile_in_place<2>(t, row);
    row += 2;
  }
  if (row < t.row_count) row_tile_in_place<1>(t, row);
}

void rows_packed(const TileRows& t) {
  const int64_t vectors = ceil_div(t.column_count, kLanes);
  const uint32_t* left = t.left;
  for (int64_t row = 0; row < t.row_count; row += kPanelRows, left += left_words(t.depth)) {
    int64_t vector = 0;
    for (; vector + 2 <= vectors; vector += 2) tile_packed<2>(t, left, row, vector);
    if (vector < vectors) tile_packed<1>(t, left, row, vector);
  }
}

/// A panel of the right factor: columns [column, column + width), terms [k, k + depth).
struct PairTerms {
  int64_t column, width, k, depth;
};

void pack_panel(const MatmulSpec& spec, const void* b, const PairTerms& terms, uint32_t* out) {
  const auto* source = static_cast<const BF16*>(b);
  if (spec.transpose_b == Transpose::kYes) {
    pack_columns(source + terms.column * spec.ldb + terms.k, spec.ldb, terms.depth, terms.width, out);
  } else {
    pack_rows(source + terms.k * spec.ldb + terms.column, spec.ldb, terms.depth, terms.width, out);
  }
}

/// One thread's work on one block.
class BlockWork {
 public:
  BlockWork(const MatmulSpec& spec, const MatmulOperands& operands, const PairBlock& block)
      : spec_(spec), operands_(operands), block_(block) {
    auto* scratch = static_cast<std::byte*>(operands.scratch);
    right_ = reinterpret_cast<uint32_t*>(scratch);
    left_ = reinterpret_cast<uint32_t*>(scratch + right_bytes(spec, {block.rows, block.columns}));
    sums_ = reinterpret_cast<float*>(left_);  // never both
  }

  void run() {
    for (int64_t column = 0; column < block_.columns; column += packs_both(spec_) ? block_.columns : kPairColumns) {
      for (int64_t k = 0; k < spec_.k; k += kDepth) {
        packs_both(spec_) ? all_panels(k) : one_panel(block_.column + column, k);
      }
      if (needs_sums(spec_)) store_sums(block_.column + column);
    }
  }

 private:
  int64_t depth_at(int64_t k) const { return std::min(kDepth, spec_.k - k); }
  int64_t width(int64_t column) const { return std::min(kPairColumns, block_.column + block_.columns - column); }
  PairTerms terms(int64_t column, int64_t k) const { return {column, width(column), k, depth_at(k)}; }
  std::byte* c_at(int64_t row, int64_t column) const {
    return static_cast<std::byte*>(operands_.c) + (row * spec_.ldc + column) * dtype_size(spec_.c_dtype);
  }

  /// The panel of the right factor, packed here or before.
  const uint32_t* right_panel(int64_t column, int64_t k) const {
    if (operands_.packed_b != nullptr)
      return static_cast<const uint32_t*>(operands_.packed_b) + column / kPairColumns * right_words(spec_.k) +
             pairs_of(k) * kPairColumns;
    pack_panel(spec_, operands_.b, terms(column, k), right_);
    return right_;
  }

  TileRows tile_rows(int64_t column, int64_t k) const {
    return {.depth = depth_at(k),
            .c = c_at(block_.row, column),
            .ldc = spec_.ldc,
            .c_dtype = spec_.c_dtype,
            .add = k > 0 || spec_.accumulate == Accumulate::kAdd,
            .row_count = block_.rows,
            .column_count = width(column)};
  }

  /// Terms from k on of the columns from `column` on; the left factor in place.
  void one_panel(int64_t column, int64_t k) {
    alignas(64) float start[kPairColumns] = {};
    if (k == 0 && !needs_sums(spec_)) read_bias(column, start);
    TileRows tiles = tile_rows(column, k);
    tiles.rows = static_cast<const BF16*>(operands_.a) + block_.row * spec_.lda + k;
    tiles.stride = spec_.lda;
    tiles.right = right_panel(column, k);
    tiles.start = start;
    if (needs_sums(spec_)) {
      tiles.c = reinterpret_cast<std::byte*>(sums_);
      tiles.ldc = kPairColumns;
      tiles.c_dtype = DType::kF32;
      tiles.add = k > 0;
    }
    rows_in_place(tiles);
  }

  /// Terms from k on of the whole block; both factors packed.
  void all_panels(int64_t k) {
    const int64_t panel_words = right_words(depth_at(k)), end = block_.row + block_.rows;
    for (int64_t column = 0; column < block_.columns; column += kPairColumns)
      pack_panel(spec_, operands_.b, terms(block_.column + column, k), right_ + column / kPairColumns * panel_words);
    const auto* a = static_cast<const BF16*>(operands_.a) + k * spec_.lda;
    for (int64_t row = block_.row; row < end; row += kGroupRows) {
      const int64_t rows = std::min(kGroupRows, end - row);
      pack_left(a + row, spec_.lda, depth_at(k), rows, left_);
      for (int64_t column = 0; column < block_.columns; column += kPairColumns) {
        alignas(64) float start[kPairColumns] = {};
        if (k == 0) read_bias(block_.column + column, start);
        TileRows tiles = tile_rows(block_.column + column, k);
        tiles.left = left_;
        tiles.right = right_ + column / kPairColumns * panel_words;
        tiles.start = start;
        tiles.c = c_at(row, block_.column + column);
        tiles.row_count = rows;
        rows_packed(tiles);
      }
    }
  }

  void read_bias(int64_t column, float* start) const {
    for (int64_t j = 0; spec_.has_bias && j < width(column); ++j) {
      start[j] = spec_.bias_dtype == DType::kF32 ? static_cast<const float*>(operands_.bias)[column + j]
                                                 : to_float(static_cast<const BF16*>(operands_.bias)[column + j]);
    }
  }

  void store_sums(int64_t column) const {
    alignas(64) float bias[kPairColumns] = {};
    read_bias(column, bias);
    auto* c = reinterpret_cast<BF16*>(c_at(block_.row, column));
    for (int64_t r = 0; r < block_.rows; ++r, c += spec_.ldc) {
      for_each_vector(width(column), [&](int64_t j, int64_t count) CONCLAVE_INLINE_LAMBDA {
        const VecF sum = load(sums_ + r * kPairColumns + j) + load(bias + j);
        finish(c + j, sum, spec_.accumulate == Accumulate::kAdd, count);
      });
    }
  }

  const MatmulSpec& spec_;
  const MatmulOperands& operands_;
  const PairBlock& block_;
  uint32_t* right_;
  uint32_t* left_;
  float* sums_;
};

/// A share of `size` that is a multiple of `step` and at most `most`, for at least `parts` parts if these are not
/// smaller than `least`.
int64_t share(int64_t size, int64_t parts, int64_t step, int64_t least, int64_t most) {
  const int64_t wanted = std::clamp(ceil_div(size, std::max<int64_t>(parts, 1)), least, most);
  return round_up(ceil_div(size, ceil_div(std::max<int64_t>(size, 1), wanted)), step);
}

}  // namespace

bool goes_in_pairs(const MatmulSpec& spec) {
  return kMachineHasPairs && spec.dtype == DType::kBF16 && spec.m >= kFewestRows && spec.n > 0 && spec.k > 0 &&
         !(packs_both(spec) && needs_sums(spec));
}

PairGrid pair_grid(const MatmulSpec& spec, int64_t blocks) {
  if (packs_both(spec)) {
    const int64_t columns = share(spec.n, 1, kPairColumns, kPairColumns, kPackedColumns);
    const int64_t parts = ceil_div(blocks, ceil_div(spec.n, columns));
    return {share(spec.m, parts, kPanelRows, 64, kPackedRows), columns};
  }
  const int64_t parts = ceil_div(blocks, ceil_div(spec.n, kPairColumns));
  return {share(spec.m, parts, 6, 96, kPairMostRows - 8), kPairColumns};
}

int64_t pair_thread_bytes(const MatmulSpec& spec, const PairGrid& grid) {
  return round_up(right_bytes(spec, grid) + left_bytes(spec) + sum_bytes(spec, grid), Allocator::kAlignment);
}

void run_pair_block(const MatmulSpec& spec, const MatmulOperands& operands, const PairBlock& block) {
  BlockWork(spec, operands, block).run();
}

int64_t packed_right_bytes(const MatmulSpec& spec) {
  return goes_in_pairs(spec) && !packs_both(spec) ? ceil_div(spec.n, kPairColumns) * right_words(spec.k) * 4 : 0;
}

void pack_right(const MatmulSpec& spec, const void* b, void* packed) {
  const int64_t panels = ceil_div(spec.n, kPairColumns);
#pragma omp parallel for schedule(static) num_threads(spec.threads)
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t column = panel * kPairColumns;
    for (int64_t k = 0; k < spec.k; k += kDepth) {
      pack_panel(spec, b, {column, std::min(kPairColumns, spec.n - column), k, std::min(kDepth, spec.k - k)},
                 static_cast<uint32_t*>(packed) + panel * right_words(spec.k) + pairs_of(k) * kPairColumns);
    }
  }
}

int64_t pair_scratch_bytes(const MatmulSpec& spec) {
  return spec.threads * pair_thread_bytes(spec, pair_grid(spec, 2 * spec.threads));
}

void run_in_pairs(const MatmulSpec& spec, const MatmulOperands& operands) {
  const PairGrid grid = pair_grid(spec, 2 * spec.threads);
  const int64_t thread_bytes = pair_thread_bytes(spec, grid), wide = ceil_div(spec.n, grid.columns);
  const int64_t blocks = wide * ceil_div(spec.m, grid.rows);
  auto* scratch = static_cast<std::byte*>(operands.scratch);
#pragma omp parallel for schedule(dynamic, 1) num_threads(spec.threads)
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t row = i / wide * grid.rows, column = i % wide * grid.columns;
    MatmulOperands own = operands;
    own.scratch = scratch + omp_get_thread_num() * thread_bytes;
    run_pair_block(spec, own,
                   {.row = row,
                    .rows = std::min(grid.rows, spec.m - row),
                    .column = column,
                    .columns = std::min(grid.columns, spec.n - column)});
  }
}

}  // namespace conclave::kernels::cpu
