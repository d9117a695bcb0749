#include "kernels/cpu/pair_product.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/pair_vector.h"
#include "kernels/cpu/transpose.h"

// The factor on the right is packed by panels of 64 columns, so that a pair of its rows is four vectors of words. A row
// of the left factor holds its pairs already and is read in place; where it is stored transposed it is packed too, by
// panels of eight rows. Tiles of C stay in registers: 6 rows by 4 vectors, or 8 by 2 where the left factor is packed.
namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kVectors = kPairColumns / kLanes;  // of a panel
constexpr int64_t kDepth = 1024;                     // terms of a sum that are packed at a time
constexpr int64_t kPanelRows = 8;
constexpr int64_t kPackedRows = 256, kPackedColumns = 1024;  // of a block, at most, where both factors are packed
constexpr int64_t kFewestRows = 16;

int64_t pairs_of(int64_t depth) { return ceil_div(depth, 2); }
bool packs_both(const MatmulSpec& spec) { return spec.transpose_a == Transpose::kYes; }
/// bf16 results of sums that are cut are summed up elsewhere.
bool needs_sums(const MatmulSpec& spec) { return spec.c_dtype == DType::kBF16 && spec.k > kDepth; }

int64_t right_bytes(const MatmulSpec& spec) { return pairs_of(std::min(spec.k, kDepth)) * kPairColumns * 4; }
int64_t left_bytes(const MatmulSpec& spec, const PairGrid& grid) {
  return packs_both(spec) ? pairs_of(std::min(spec.k, kDepth)) * round_up(grid.rows, kPanelRows) * 4 : 0;
}
int64_t sum_bytes(const MatmulSpec& spec, const PairGrid& grid) {
  return needs_sums(spec) ? grid.rows * kPairColumns * static_cast<int64_t>(sizeof(float)) : 0;
}

/// out [pairs of depth, kWidth words]: columns [0, count) of rows [0, depth) of source; the rest is zero.
template <int64_t kWidth>
void pack_rows(const BF16* source, int64_t stride, int64_t depth, int64_t count, uint32_t* out) {
  for (int64_t k = 0; k < depth; k += 2, source += 2 * stride, out += kWidth) {
    const bool whole = k + 1 < depth;
#pragma GCC unroll 4
    for (int64_t j = 0; j < kWidth; j += kLanes) {
      const VecH even = load_bits(source + j, count - j);
      const VecH odd = whole ? load_bits(source + stride + j, count - j) : VecH{};
      const VecU words = interleave(even, odd);
      std::memcpy(out + j, &words, sizeof words);
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

/// Panels of eight rows of the left factor, stored [depth, rows]: each [pairs, 8 words].
void pack_left(const BF16* source, int64_t stride, int64_t depth, int64_t rows, uint32_t* out) {
  const int64_t panel = pairs_of(depth) * kPanelRows;
  alignas(64) uint32_t words[kLanes];
  for (int64_t i = 0; i < rows; i += kLanes, out += 2 * panel) {
    const bool second = i + kPanelRows < rows;
    for (int64_t k = 0; k < depth; k += 2) {
      const BF16* at = source + k * stride + i;
      const VecU pair = interleave(load_bits(at, rows - i), k + 1 < depth ? load_bits(at + stride, rows - i) : VecH{});
      std::memcpy(words, &pair, sizeof words);
      std::memcpy(out + k / 2 * kPanelRows, words, sizeof words / 2);
      if (second) std::memcpy(out + panel + k / 2 * kPanelRows, words + kPanelRows, sizeof words / 2);
    }
  }
}

/// What one tile adds up and where that goes.
struct Tile {
  const BF16* rows = nullptr;  // in place: element (0, 0)
  int64_t stride = 0;
  const uint32_t* panel = nullptr;  // or packed
  const uint32_t* right = nullptr;
  int64_t depth = 0;
  const float* start = nullptr;  // what the sums of each column begin with
  std::byte* c = nullptr;
  int64_t ldc = 0;
  DType c_dtype = DType::kF32;
  bool add = false;
  int64_t row_count = 0, column_count = 0;
};

template <typename C>
void finish(C* c, VecF sum, bool add, int64_t count) {
  if (add) sum += load_some(c, count);
  store_some(c, sum, count);
}

template <typename C>
void finish_rows(const Tile& t, const float* sums, int64_t stride) {
  for (int64_t r = 0; r < t.row_count; ++r) {
    C* c = reinterpret_cast<C*>(t.c) + r * t.ldc;
    for_each_vector(t.column_count, [&](int64_t j, int64_t count) CONCLAVE_INLINE_LAMBDA {
      finish(c + j, load(sums + r * stride + j), t.add, count);
    });
  }
}

/// Sums that met a call while in registers would live in memory all the time: they leave together.
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void finish_tile(const Tile& t, const VecF (&sum)[kRows][kColumns]) {
  alignas(64) float sums[kRows * kColumns * kLanes];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) store(sums + (r * kColumns + v) * kLanes, sum[r][v]);
  }
  Tile own = t;
  own.column_count = std::min<int64_t>(t.column_count, kColumns * kLanes);
  t.c_dtype == DType::kF32 ? finish_rows<float>(own, sums, kColumns * kLanes)
                           : finish_rows<BF16>(own, sums, kColumns * kLanes);
}

/// The results are asked for from far memory while the sums are made.
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void start_tile(const Tile& t, VecF (&sum)[kRows][kColumns]) {
  const int64_t size = dtype_size(t.c_dtype), row = std::min<int64_t>(t.column_count, kColumns * kLanes) * size;
  for (int64_t r = 0; r < t.row_count; ++r) {
    for (int64_t byte = 0; byte < row; byte += 64) __builtin_prefetch(t.c + r * t.ldc * size + byte, 1);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[r][v] = load(t.start + v * kLanes);
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
void tile_in_place(const Tile& t) {
  VecF sum[kRows][kColumns];
  start_tile(t, sum);
  const uint32_t* right = t.right;
  const BF16* rows = t.rows;
  for (int64_t k = 0; k + 1 < t.depth; k += 2, rows += 2, right += kPairColumns) {
    const auto words = [&](int r) CONCLAVE_INLINE_LAMBDA {
      uint32_t word;
      std::memcpy(&word, rows + r * t.stride, sizeof word);
      return word;
    };
    add_pair(right, words, sum);
  }
  if (t.depth % 2 != 0)
    add_pair(
        right, [&](int r) CONCLAVE_INLINE_LAMBDA -> uint32_t { return rows[r * t.stride].bits; }, sum);
  finish_tile(t, sum);
}

template <int kColumns>
void tile_packed(const Tile& t) {
  VecF sum[kPanelRows][kColumns];
  start_tile(t, sum);
  const uint32_t *right = t.right, *left = t.panel;
  for (int64_t k = 0; k < t.depth; k += 2, left += kPanelRows, right += kPairColumns)
    add_pair(
        right, [&](int r) CONCLAVE_INLINE_LAMBDA { return left[r]; }, sum);
  finish_tile(t, sum);
}

/// Moves a tile's columns.
Tile at_vector(Tile t, int64_t vector) {
  const int64_t column = vector * kLanes;
  t.right += column;
  t.start += column;
  t.c += column * dtype_size(t.c_dtype);
  t.column_count -= column;
  return t;
}

template <int kRows>
void row_tile_in_place(const Tile& t) {
  const int64_t vectors = ceil_div(t.column_count, kLanes);
  if (vectors == kVectors) return tile_in_place<kRows, kVectors>(t);
  int64_t vector = 0;
  if (vectors >= 2) {
    tile_in_place<kRows, 2>(t);
    vector = 2;
  }
  if (vector < vectors) tile_in_place<kRows, 1>(at_vector(t, vector));
}

/// All rows of a block against one panel.
void rows_in_place(Tile t) {
  int64_t left = t.row_count;
  const auto take = [&](auto rows, void (*tile)(const Tile&)) {
    for (; left >= rows; left -= rows) {
      t.row_count = rows;
      tile(t);
      t.rows += rows * t.stride;
      t.c += rows * t.ldc * dtype_size(t.c_dtype);
    }
  };
  take(6, row_tile_in_place<6>);
  take(4, row_tile_in_place<4>);
  take(2, row_tile_in_place<2>);
  take(1, row_tile_in_place<1>);
}

void rows_packed(Tile t) {
  const int64_t rows = t.row_count, vectors = ceil_div(t.column_count, kLanes);
  for (int64_t row = 0; row < rows; row += kPanelRows) {
    t.row_count = std::min(kPanelRows, rows - row);
    int64_t vector = 0;
    for (; vector + 2 <= vectors; vector += 2) tile_packed<2>(at_vector(t, vector));
    if (vector < vectors) tile_packed<1>(at_vector(t, vector));
    t.panel += pairs_of(t.depth) * kPanelRows;
    t.c += kPanelRows * t.ldc * dtype_size(t.c_dtype);
  }
}

/// One thread's work on one block.
class BlockWork {
 public:
  BlockWork(const MatmulSpec& spec, const MatmulOperands& operands, const PairBlock& block)
      : spec_(spec), operands_(operands), block_(block) {
    auto* scratch = static_cast<std::byte*>(operands.scratch);
    right_ = reinterpret_cast<uint32_t*>(scratch);
    left_ = reinterpret_cast<uint32_t*>(scratch + right_bytes(spec));
    sums_ = reinterpret_cast<float*>(left_);  // never both
  }

  void run() {
    if (packs_both(spec_)) {
      for (int64_t k = 0; k < spec_.k; k += kDepth) {
        const auto* a = static_cast<const BF16*>(operands_.a);
        pack_left(a + k * spec_.lda + block_.row, spec_.lda, depth_at(k), block_.rows, left_);
        for (int64_t column = 0; column < block_.columns; column += kPairColumns) panel(block_.column + column, k);
      }
    } else {
      for (int64_t column = 0; column < block_.columns; column += kPairColumns) {
        for (int64_t k = 0; k < spec_.k; k += kDepth) panel(block_.column + column, k);
        if (needs_sums(spec_)) store_sums(block_.column + column);
      }
    }
  }

 private:
  int64_t depth_at(int64_t k) const { return std::min(kDepth, spec_.k - k); }
  int64_t width(int64_t column) const { return std::min(kPairColumns, block_.column + block_.columns - column); }
  std::byte* c_at(int64_t column) const {
    return static_cast<std::byte*>(operands_.c) + (block_.row * spec_.ldc + column) * dtype_size(spec_.c_dtype);
  }

  /// Terms from k on of the columns from `column` on.
  void panel(int64_t column, int64_t k) {
    const auto* b = static_cast<const BF16*>(operands_.b);
    if (spec_.transpose_b == Transpose::kYes) {
      pack_columns(b + column * spec_.ldb + k, spec_.ldb, depth_at(k), width(column), right_);
    } else {
      pack_rows<kPairColumns>(b + k * spec_.ldb + column, spec_.ldb, depth_at(k), width(column), right_);
    }
    alignas(64) float start[kPairColumns] = {};
    if (k == 0 && spec_.has_bias && !needs_sums(spec_)) read_bias(column, start);
    Tile tile{.right = right_,
              .depth = depth_at(k),
              .start = start,
              .c = c_at(column),
              .ldc = spec_.ldc,
              .c_dtype = spec_.c_dtype,
              .add = k > 0 || spec_.accumulate == Accumulate::kAdd,
              .row_count = block_.rows,
              .column_count = width(column)};
    if (packs_both(spec_)) {
      tile.panel = left_;
      return rows_packed(tile);
    }
    tile.rows = static_cast<const BF16*>(operands_.a) + block_.row * spec_.lda + k;
    tile.stride = spec_.lda;
    if (needs_sums(spec_)) {
      tile.c = reinterpret_cast<std::byte*>(sums_);
      tile.ldc = kPairColumns;
      tile.c_dtype = DType::kF32;
      tile.add = k > 0;
    }
    rows_in_place(tile);
  }

  void read_bias(int64_t column, float* start) const {
    for (int64_t j = 0; j < width(column); ++j) {
      start[j] = spec_.bias_dtype == DType::kF32 ? static_cast<const float*>(operands_.bias)[column + j]
                                                 : to_float(static_cast<const BF16*>(operands_.bias)[column + j]);
    }
  }

  void store_sums(int64_t column) const {
    alignas(64) float bias[kPairColumns] = {};
    if (spec_.has_bias) read_bias(column, bias);
    auto* c = reinterpret_cast<BF16*>(c_at(column));
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
  return round_up(right_bytes(spec) + left_bytes(spec, grid) + sum_bytes(spec, grid), Allocator::kAlignment);
}

void run_pair_block(const MatmulSpec& spec, const MatmulOperands& operands, const PairBlock& block) {
  BlockWork(spec, operands, block).run();
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
