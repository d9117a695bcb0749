#include "kernels/cpu/packed_product.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/packed_factors.h"

// The factor on the right is packed by panels of 64 columns, so that a pair of its rows is four vectors of words. A row
// of the left factor holds its pairs already and is read in place; where it is stored transposed it is packed too, by
// panels of eight rows, 64 rows at a time against all columns of the block. Tiles of C stay in registers: 6 rows by 4
// vectors, or 8 by 2 where the left factor is packed. Packing reads pieces of rows that lie far apart, which no
// machine foresees: they are asked for in time.
namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kVectors = kPanelColumns / kLanes;        // of a panel
constexpr int64_t kDepthWords = 512;                        // of a sum that are packed at a time
constexpr int64_t kPackedRows = 512, kPackedColumns = 256;  // of a block, at most, where both factors are packed
constexpr int64_t kFewestRows = 16;

int64_t terms_in_word(const MatmulSpec& spec) { return spec.dtype == DType::kBF16 ? Pair::kTerms : Single::kTerms; }
int64_t words_of(const MatmulSpec& spec, int64_t depth) { return ceil_div(depth, terms_in_word(spec)); }
int64_t most_depth(const MatmulSpec& spec) { return kDepthWords * terms_in_word(spec); }
bool packs_both(const MatmulSpec& spec) { return spec.transpose_a == Transpose::kYes; }
/// bf16 results of sums that are cut are summed up elsewhere.
bool needs_sums(const MatmulSpec& spec) { return spec.c_dtype == DType::kBF16 && spec.k > most_depth(spec); }

int64_t right_bytes(const MatmulSpec& spec, const PackedGrid& grid) {
  const int64_t panels = packs_both(spec) ? ceil_div(grid.columns, kPanelColumns) : 1;
  return panels * right_panel_words(words_of(spec, std::min(spec.k, most_depth(spec)))) * 4;
}
int64_t left_bytes(const MatmulSpec& spec) {
  return packs_both(spec)
             ? kGroupRows / kPanelRows * left_panel_words(words_of(spec, std::min(spec.k, most_depth(spec)))) * 4
             : 0;
}
int64_t sum_bytes(const MatmulSpec& spec, const PackedGrid& grid) {
  return needs_sums(spec) ? grid.rows * kPanelColumns * static_cast<int64_t>(sizeof(float)) : 0;
}

/// What is added up in tiles and where it goes: some rows against one panel.
struct TileRows {
  const void* rows = nullptr;  // of the left factor, in place
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

/// The whole tile to C: nothing is called, so the sums stay in registers.
template <typename C, bool add, int kRows, int kColumns>
__attribute__((always_inline)) inline void store_tile(C* c, int64_t ldc, const VecF (&sum)[kRows][kColumns]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) {
      C* at = c + r * ldc + v * kLanes;
      store(at, add ? sum[r][v] + load(at) : sum[r][v]);
    }
  }
}

/// Sums that met a call while in registers would live in memory all the time: those of tiles that stick out of C leave
/// together.
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void finish_tile(const TileRows& t, const TilePlace& place,
                                                       const VecF (&sum)[kRows][kColumns]) {
  const int64_t column = place.vector * kLanes;
  if (place.rows == kRows && t.column_count - column >= kColumns * kLanes) {
    const int64_t first = place.row * t.ldc + column;
    if (t.c_dtype == DType::kF32) {
      auto* c = reinterpret_cast<float*>(t.c) + first;
      return t.add ? store_tile<float, true>(c, t.ldc, sum) : store_tile<float, false>(c, t.ldc, sum);
    }
    auto* c = reinterpret_cast<BF16*>(t.c) + first;
    return t.add ? store_tile<BF16, true>(c, t.ldc, sum) : store_tile<BF16, false>(c, t.ldc, sum);
  }
  alignas(64) float sums[kRows * kColumns * kLanes];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) store(sums + (r * kColumns + v) * kLanes, sum[r][v]);
  }
  t.c_dtype == DType::kF32 ? finish_rows<float>(t, place, sums, kColumns * kLanes)
                           : finish_rows<BF16>(t, place, sums, kColumns * kLanes);
}

/// The results are asked for from far memory while the sums are made (beyond C too, where that harms nobody).
template <int kRows, int kColumns>
__attribute__((always_inline)) inline void start_tile(const TileRows& t, const TilePlace& place,
                                                      VecF (&sum)[kRows][kColumns]) {
  const int64_t size = t.c_size(), column = place.vector * kLanes, row_bytes = t.ldc * size;
  const std::byte* c = t.c + place.row * row_bytes + column * size;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) __builtin_prefetch(c + r * row_bytes + v * kLanes * size, 1);
  }
#pragma GCC unroll 4
  for (int v = 0; v < kColumns; ++v) {
    const VecF start = load(t.start + column + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sum[r][v] = start;
  }
}

/// words(r) is the word of row r of the left factor.
template <typename Unit, int kRows, int kColumns, typename Words>
__attribute__((always_inline)) inline void add_word(const uint32_t* right, Words words, VecF (&sum)[kRows][kColumns]) {
  VecU b[kColumns];
#pragma GCC unroll 4
  for (int v = 0; v < kColumns; ++v) std::memcpy(&b[v], right + v * kLanes, sizeof b[v]);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const VecU a = broadcast_pair(words(r));
#pragma GCC unroll 4
    for (int v = 0; v < kColumns; ++v) sum[r][v] = Unit::add(sum[r][v], a, b[v]);
  }
}

template <typename Unit, int kRows, int kColumns>
void tile_in_place(const TileRows& t, int64_t row, int64_t vector) {
  using Number = typename Unit::Number;
  const TilePlace place{row, kRows, vector};
  VecF sum[kRows][kColumns];
  start_tile(t, place, sum);
  const int64_t depth = t.depth, stride = t.stride;
  const uint32_t* right = t.right + vector * kLanes;
  const Number* rows = static_cast<const Number*>(t.rows) + row * stride;
  for (int64_t k = 0; k + Unit::kTerms <= depth; k += Unit::kTerms, rows += Unit::kTerms, right += kPanelColumns) {
    const auto words = [&](int r) CONCLAVE_INLINE_LAMBDA {
      uint32_t word;
      std::memcpy(&word, rows + r * stride, sizeof word);
      return word;
    };
    add_word<Unit>(right, words, sum);
  }
  if constexpr (Unit::kTerms == 2) {
    if (depth % 2 != 0)
      add_word<Unit>(
          right, [&](int r) CONCLAVE_INLINE_LAMBDA -> uint32_t { return rows[r * stride].bits; }, sum);
  }
  finish_tile(t, place, sum);
}

template <typename Unit, int kColumns>
void tile_packed(const TileRows& t, const uint32_t* left, int64_t row, int64_t vector) {
  const TilePlace place{row, std::min(kPanelRows, t.row_count - row), vector};
  VecF sum[kPanelRows][kColumns];
  start_tile(t, place, sum);
  const uint32_t* right = t.right + vector * kLanes;
  for (int64_t words = ceil_div(t.depth, Unit::kTerms); words > 0; --words, left += kPanelRows, right += kPanelColumns)
    add_word<Unit>(
        right, [&](int r) CONCLAVE_INLINE_LAMBDA { return left[r]; }, sum);
  finish_tile(t, place, sum);
}

template <typename Unit, int kRows>
void row_tile_in_place(const TileRows& t, int64_t row) {
  const int64_t vectors = ceil_div(t.column_count, kLanes);
  if (vectors == kVectors) return tile_in_place<Unit, kRows, kVectors>(t, row, 0);
  int64_t vector = 0;
  if (vectors >= 2) {
    tile_in_place<Unit, kRows, 2>(t, row, 0);
    vector = 2;
  }
  if (vector < vectors) tile_in_place<Unit, kRows, 1>(t, row, vector);
}

template <typename Unit>
void rows_in_place(const TileRows& t, Ahead ahead) {
  int64_t row = 0;
  const int64_t lines = ceil_div(ahead.lines(), std::max<int64_t>(t.row_count / 6, 1));
  for (; row + 6 <= t.row_count; row += 6) {
    ahead.ask(lines);
    row_tile_in_place<Unit, 6>(t, row);
  }
  if (row + 4 <= t.row_count) {
    row_tile_in_place<Unit, 4>(t, row);
    row += 4;
  }
  if (row + 2 <= t.row_count) {
    row_tile_in_place<Unit, 2>(t, row);
    row += 2;
  }
  if (row < t.row_count) row_tile_in_place<Unit, 1>(t, row);
}

template <typename Unit>
void rows_packed(const TileRows& t, Ahead& ahead, int64_t lines) {
  const int64_t vectors = ceil_div(t.column_count, kLanes), words = ceil_div(t.depth, Unit::kTerms);
  const uint32_t* left = t.left;
  for (int64_t row = 0; row < t.row_count; row += kPanelRows, left += left_panel_words(words)) {
    int64_t vector = 0;
    ahead.ask(lines);
    for (; vector + 2 <= vectors; vector += 2) tile_packed<Unit, 2>(t, left, row, vector);
    if (vector < vectors) tile_packed<Unit, 1>(t, left, row, vector);
  }
}

/// A panel of the right factor: columns [column, column + width), terms [k, k + depth).
struct PairTerms {
  int64_t column, width, k, depth;
};

template <typename Unit>
void pack_panel(const MatmulSpec& spec, const void* b, const PairTerms& terms, uint32_t* out) {
  const auto* source = static_cast<const typename Unit::Number*>(b);
  if (spec.transpose_b == Transpose::kYes) {
    pack_columns<Unit>(source + terms.column * spec.ldb + terms.k, spec.ldb, terms.depth, terms.width, out);
  } else {
    pack_rows<Unit>(source + terms.k * spec.ldb + terms.column, spec.ldb, terms.depth, terms.width, out);
  }
}

/// One thread's work on one block.
template <typename Unit>
class BlockWork {
 public:
  BlockWork(const MatmulSpec& spec, const MatmulOperands& operands, const PackedBlock& block)
      : spec_(spec), operands_(operands), block_(block) {
    auto* scratch = static_cast<std::byte*>(operands.scratch);
    right_ = reinterpret_cast<uint32_t*>(scratch);
    left_ = reinterpret_cast<uint32_t*>(scratch + right_bytes(spec, {block.rows, block.columns}));
    sums_ = reinterpret_cast<float*>(left_);  // never both
  }

  void run() {
    for (int64_t column = 0; column < block_.columns; column += packs_both(spec_) ? block_.columns : kPanelColumns) {
      for (int64_t k = 0; k < spec_.k; k += most_depth(spec_)) {
        packs_both(spec_) ? all_panels(k) : one_panel(block_.column + column, k);
      }
      if (needs_sums(spec_)) store_sums(block_.column + column);
    }
  }

 private:
  using Number = typename Unit::Number;
  int64_t depth_at(int64_t k) const { return std::min(most_depth(spec_), spec_.k - k); }
  int64_t width(int64_t column) const { return std::min(kPanelColumns, block_.column + block_.columns - column); }
  PairTerms terms(int64_t column, int64_t k) const { return {column, width(column), k, depth_at(k)}; }
  std::byte* c_at(int64_t row, int64_t column) const {
    return static_cast<std::byte*>(operands_.c) + (row * spec_.ldc + column) * dtype_size(spec_.c_dtype);
  }

  /// The panel of the right factor, packed here or before.
  const uint32_t* right_panel(int64_t column, int64_t k) const {
    if (operands_.packed_b != nullptr)
      return static_cast<const uint32_t*>(operands_.packed_b) +
             column / kPanelColumns * right_panel_words(words_of(spec_, spec_.k)) +
             right_panel_words(words_of(spec_, k));
    pack_panel<Unit>(spec_, operands_.b, terms(column, k), right_);
    return right_;
  }

  /// What is packed after the panel at `column` and k.
  Ahead after(int64_t column, int64_t k) const {
    if (operands_.packed_b != nullptr) return {};
    if (k + most_depth(spec_) < spec_.k) return source_of(operands_.b, terms(column, k + most_depth(spec_)));
    column += kPanelColumns;
    if (column < block_.column + block_.columns) return source_of(operands_.b, terms(column, 0));
    return operands_.next_b == nullptr ? Ahead() : source_of(operands_.next_b, {0, kPanelColumns, 0, depth_at(0)});
  }

  Ahead source_of(const void* b, const PairTerms& t) const {
    const auto* source = static_cast<const Number*>(b);
    const int64_t stride = spec_.ldb * sizeof(Number);
    return spec_.transpose_b == Transpose::kYes
               ? Ahead(as_bytes(source + t.column * spec_.ldb + t.k), stride, t.width, t.depth * sizeof(Number))
               : Ahead(as_bytes(source + t.k * spec_.ldb + t.column), stride, t.depth, t.width * sizeof(Number));
  }
  static const std::byte* as_bytes(const Number* source) { return reinterpret_cast<const std::byte*>(source); }

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
    alignas(64) float start[kPanelColumns] = {};
    if (k == 0 && !needs_sums(spec_)) read_bias(column, start);
    TileRows tiles = tile_rows(column, k);
    tiles.rows = static_cast<const Number*>(operands_.a) + block_.row * spec_.lda + k;
    tiles.stride = spec_.lda;
    tiles.right = right_panel(column, k);
    tiles.start = start;
    if (needs_sums(spec_)) {
      tiles.c = reinterpret_cast<std::byte*>(sums_);
      tiles.ldc = kPanelColumns;
      tiles.c_dtype = DType::kF32;
      tiles.add = k > 0;
    }
    rows_in_place<Unit>(tiles, after(column, k));
  }

  /// Terms from k on of the whole block; both factors packed.
  void all_panels(int64_t k) {
    const int64_t panel_words = right_panel_words(words_of(spec_, depth_at(k))), end = block_.row + block_.rows;
    const bool is_there = operands_.scratch_has_b && spec_.k <= most_depth(spec_);
    for (int64_t column = 0; column < block_.columns && !is_there; column += kPanelColumns)
      pack_panel<Unit>(spec_, operands_.b, terms(block_.column + column, k),
                       right_ + column / kPanelColumns * panel_words);
    const auto* a = static_cast<const Number*>(operands_.a) + k * spec_.lda;
    for (int64_t row = block_.row; row < end; row += kGroupRows) {
      const int64_t rows = std::min(kGroupRows, end - row);
      pack_left<Unit>(a + row, spec_.lda, depth_at(k), rows, left_);
      const int64_t later = std::min(kGroupRows, end - row - rows);
      Ahead ahead(as_bytes(a + row + rows), spec_.lda * sizeof(Number), depth_at(k), later * sizeof(Number));
      const int64_t tiles_left = ceil_div(rows, kPanelRows) * ceil_div(block_.columns, kPanelColumns);
      const int64_t lines = ceil_div(ahead.lines(), tiles_left);
      for (int64_t column = 0; column < block_.columns; column += kPanelColumns) {
        alignas(64) float start[kPanelColumns] = {};
        if (k == 0) read_bias(block_.column + column, start);
        TileRows tiles = tile_rows(block_.column + column, k);
        tiles.left = left_;
        tiles.right = right_ + column / kPanelColumns * panel_words;
        tiles.start = start;
        tiles.c = c_at(row, block_.column + column);
        tiles.row_count = rows;
        rows_packed<Unit>(tiles, ahead, lines);
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
    alignas(64) float bias[kPanelColumns] = {};
    read_bias(column, bias);
    auto* c = reinterpret_cast<BF16*>(c_at(block_.row, column));
    for (int64_t r = 0; r < block_.rows; ++r, c += spec_.ldc) {
      for_each_vector(width(column), [&](int64_t j, int64_t count) CONCLAVE_INLINE_LAMBDA {
        const VecF sum = load(sums_ + r * kPanelColumns + j) + load(bias + j);
        finish(c + j, sum, spec_.accumulate == Accumulate::kAdd, count);
      });
    }
  }

  const MatmulSpec& spec_;
  const MatmulOperands& operands_;
  const PackedBlock& block_;
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

/// Of a whole product: more than threads, so that these end together; not where each packs its right factor again.
int64_t wanted_blocks(const MatmulSpec& spec) { return (packs_both(spec) ? 1 : 2) * spec.threads; }

}  // namespace

bool packs_itself(const MatmulSpec& spec) {
  const bool fast = spec.dtype == DType::kBF16
                        ? kMachineHasPairs
                        : spec.dtype == DType::kF32 && kMachineHasWideSums && spec.n >= kPanelColumns;
  return fast && spec.m >= kFewestRows && spec.n > 0 && spec.k > 0 && !(packs_both(spec) && needs_sums(spec));
}

PackedGrid packed_grid(const MatmulSpec& spec, int64_t blocks) {
  if (packs_both(spec)) {
    const int64_t columns = share(spec.n, 1, kPanelColumns, kPanelColumns, kPackedColumns * terms_in_word(spec));
    const int64_t parts = ceil_div(blocks, ceil_div(spec.n, columns));
    return {share(spec.m, parts, kPanelRows, 64, kPackedRows), columns};
  }
  const int64_t parts = ceil_div(blocks, ceil_div(spec.n, kPanelColumns));
  return {share(spec.m, parts, 6, 96, kMostBlockRows - 8), kPanelColumns};
}

int64_t packed_thread_bytes(const MatmulSpec& spec, const PackedGrid& grid) {
  return round_up(right_bytes(spec, grid) + left_bytes(spec) + sum_bytes(spec, grid), Allocator::kAlignment);
}

void run_packed_block(const MatmulSpec& spec, const MatmulOperands& operands, const PackedBlock& block) {
  spec.dtype == DType::kBF16 ? BlockWork<Pair>(spec, operands, block).run()
                             : BlockWork<Single>(spec, operands, block).run();
}

int64_t packed_right_bytes(const MatmulSpec& spec) {
  return packs_itself(spec) && !packs_both(spec)
             ? ceil_div(spec.n, kPanelColumns) * right_panel_words(words_of(spec, spec.k)) * 4
             : 0;
}

void pack_right(const MatmulSpec& spec, const void* b, void* packed) {
  const int64_t panels = ceil_div(spec.n, kPanelColumns);
#pragma omp parallel for schedule(static) num_threads(spec.threads)
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t column = panel * kPanelColumns;
    for (int64_t k = 0; k < spec.k; k += most_depth(spec)) {
      const PairTerms terms{column, std::min(kPanelColumns, spec.n - column), k,
                            std::min(most_depth(spec), spec.k - k)};
      uint32_t* out = static_cast<uint32_t*>(packed) + panel * right_panel_words(words_of(spec, spec.k)) +
                      right_panel_words(words_of(spec, k));
      spec.dtype == DType::kBF16 ? pack_panel<Pair>(spec, b, terms, out) : pack_panel<Single>(spec, b, terms, out);
    }
  }
}

int64_t packed_scratch_bytes(const MatmulSpec& spec) {
  return spec.threads * packed_thread_bytes(spec, packed_grid(spec, wanted_blocks(spec)));
}

void run_packed(const MatmulSpec& spec, const MatmulOperands& operands) {
  const PackedGrid grid = packed_grid(spec, wanted_blocks(spec));
  const int64_t thread_bytes = packed_thread_bytes(spec, grid), tall = ceil_div(spec.m, grid.rows);
  const int64_t blocks = tall * ceil_div(spec.n, grid.columns);
  auto* scratch = static_cast<std::byte*>(operands.scratch);
#pragma omp parallel num_threads(spec.threads)
  {
    MatmulOperands own = operands;
    own.scratch = scratch + omp_get_thread_num() * thread_bytes;
    int64_t packed_column = -1;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t row = i % tall * grid.rows, column = i / tall * grid.columns;
      own.scratch_has_b = column == packed_column;
      packed_column = column;
      run_packed_block(spec, own,
                       {.row = row,
                        .rows = std::min(grid.rows, spec.m - row),
                        .column = column,
                        .columns = std::min(grid.columns, spec.n - column)});
    }
  }
}

}  // namespace conclave::kernels::cpu
