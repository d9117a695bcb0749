#include <cmath>

#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kRowBlock = 16 * kRowTile;  // queries that share one turned block of keys
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Where the parts of a thread's scratch begin, in floats.
struct ForwardLayout {
  int64_t keys, values, queries, sums, scores, largest, total, size;
  ForwardLayout(const AttentionShape& shape, bool copies) {
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
      const int64_t begin = at;
      at += round_up(floats, kLanes);
      return begin;
    };
    const int64_t rows = std::min(kRowBlock, shape.queries);
    keys = take(shape.size * kKeyBlock);
    values = take(copies || shape.value_size % kLanes != 0 ? kKeyBlock * padded(shape.value_size) : 0);
    queries = take(copies ? rows * padded(shape.size) : 0);
    sums = take(rows * padded(shape.value_size));
    scores = take(kRowTile * kKeyBlock);
    largest = take(rows);
    total = take(rows);
    size = at;
  }
};

// Running state of a block of queries of one head.
struct RowBlock {
  int64_t begin = 0, rows = 0;
  FloatRows queries{};
  float* sums = nullptr;     // [rows, Dv up to whole vectors]: Σ p v
  float* largest = nullptr;  // [rows]: largest score so far, times log2 e
  float* total = nullptr;    // [rows]: Σ p
};

// One block of keys and values.
struct KeyBlock {
  int64_t begin;
  const float* turned;  // [D, kKeyBlock]
  FloatRows values;
};

struct Problem {
  AttentionShape shape;
  Visibility sight;
  Dropout dropout;
  float score_scale;  // to powers of two
  int64_t b, h;
};

// Turns scores [rows, kKeyBlock] of a tile into probabilities relative to the new maximum; rescale[r] is what the older
// sums of row r must be multiplied by.
void softmax_tile(const Problem& p, const TileRange& range, float* scores, float* largest, float* total,
                  float (&rescale)[kLanes]) {
  const int64_t v0 = range.first_vector(), v1 = range.last_vector();
  alignas(64) float before[kLanes], shift[kLanes];
  for (int64_t r = 0; r < kLanes; ++r) before[r] = shift[r] = 0;
  for (int64_t r = 0; r < range.rows; ++r) {
    float* row = scores + r * kKeyBlock;
    VecF most = broadcast(-kInfinity);
    for (int64_t v = v0; v < v1; ++v) {
      VecF score = load(row + v * kLanes) * p.score_scale;
      if (!range.whole) score = select(range.seen(r, v), score, broadcast(-kInfinity));
      store(row + v * kLanes, score);
      most = maximum(most, score);
    }
    before[r] = largest[r];
    largest[r] = std::max(largest[r], maximum_lane(most));
    shift[r] = largest[r] == -kInfinity ? 0.0f : largest[r];
  }
  store(rescale, exp2(load(before) - load(shift)));
  for (int64_t r = 0; r < range.rows; ++r) {
    float* row = scores + r * kKeyBlock;
    VecF sum{};
    for (int64_t v = v0; v < v1; ++v) {
      const VecF probability = exp2(load(row + v * kLanes) - shift[r]);
      store(row + v * kLanes, probability);
      sum += probability;
    }
    total[r] = total[r] * rescale[r] + sum_lanes(sum);
  }
}

void drop_tile(const Problem& p, const TileRange& range, int64_t row, int64_t key, float* scores) {
  alignas(64) float factors[kKeyBlock];
  for (int64_t r = 0; r < range.rows; ++r) {
    p.dropout.factors((p.h * p.shape.queries + row + r) * p.shape.keys + key, factors);
    for (int64_t j = 0; j < kKeyBlock; ++j) scores[r * kKeyBlock + j] *= factors[j];
  }
}

// Adds what the queries of the block see of one block of keys.
void attend(const Problem& p, const RowBlock& block, const KeyBlock& keys, float* scores) {
  const int64_t width = padded(p.shape.value_size);
  for (int64_t row = 0; row < block.rows; row += kRowTile) {
    const TileRange range(p.sight, block.begin + row, std::min(kRowTile, block.rows - row), keys.begin);
    if (range.empty()) continue;
    const int64_t skip = range.first_vector() * kLanes;
    tile_product<0>({.a = block.queries.data + row * block.queries.stride,
                     .a_row = block.queries.stride,
                     .a_depth = 1,
                     .b = keys.turned + skip,
                     .b_row = kKeyBlock,
                     .c = scores + skip,
                     .c_row = kKeyBlock,
                     .rows = range.rows,
                     .vectors = range.last_vector() - range.first_vector(),
                     .depth = p.shape.size});
    alignas(64) float rescale[kLanes];
    softmax_tile(p, range, scores, block.largest + row, block.total + row, rescale);
    if (p.dropout) drop_tile(p, range, block.begin + row, keys.begin, scores);
    tile_product<kKeyBlock>({.a = scores + range.begin,
                             .a_row = kKeyBlock,
                             .a_depth = 1,
                             .b = keys.values.data + range.begin * keys.values.stride,
                             .b_row = keys.values.stride,
                             .c = block.sums + row * width,
                             .c_row = width,
                             .rows = range.rows,
                             .vectors = width / kLanes,
                             .depth = range.end - range.begin,
                             .start = TileStart::kScaled,
                             .row_scale = rescale});
  }
}

template <typename T>
void finish(const Problem& p, const RowBlock& block, T* out, float* lse) {
  const int64_t width = padded(p.shape.value_size), stride = p.shape.batch * p.shape.heads * p.shape.value_size;
  for (int64_t r = 0; r < block.rows; ++r) {
    const float total = block.total[r], inverse = total == 0 ? 0.0f : 1.0f / total;
    T* target = out + (block.begin + r) * stride;
    for_each_vector(p.shape.value_size, [&](int64_t d, int64_t n) CONCLAVE_INLINE_LAMBDA {
      store_some(target + d, load(block.sums + r * width + d) * inverse, n);
    });
    if (lse != nullptr) lse[r] = total == 0 ? -kInfinity : block.largest[r] * kLn2 + std::log(total);
  }
}

template <typename T>
void attend_block(const AttentionForwardArgs& args, const Problem& p, int64_t begin, float* scratch) {
  const AttentionShape& shape = p.shape;
  const ForwardLayout layout(shape, !std::is_same_v<T, float>);
  const int64_t head = p.b * shape.heads + p.h;
  RowBlock block{begin, std::min(kRowBlock, shape.queries - begin)};
  const T* queries = args.q.data<T>() + (head * shape.queries + begin) * shape.size;
  if constexpr (std::is_same_v<T, float>) {
    block.queries = {queries, shape.size};  // read one number at a time, so no padding is needed
  } else {
    block.queries = float_rows(queries, block.rows, shape.size, scratch + layout.queries);
  }
  block.sums = scratch + layout.sums;
  block.largest = scratch + layout.largest;
  block.total = scratch + layout.total;
  std::fill_n(block.sums, block.rows * padded(shape.value_size), 0.0f);
  std::fill_n(block.largest, block.rows, -kInfinity);
  std::fill_n(block.total, block.rows, 0.0f);

  const int64_t group = p.b * shape.groups + p.h / (shape.heads / shape.groups);
  const T* keys = args.k.data<T>() + group * shape.key_stride * shape.size;
  const T* values = args.v.data<T>() + group * shape.key_stride * shape.value_size;
  const KeyRange range = p.sight.of_rows(begin, begin + block.rows);
  for (int64_t key = range.first / kKeyBlock * kKeyBlock; key < range.last; key += kKeyBlock) {
    const int64_t count = std::min(kKeyBlock, shape.keys - key);
    transpose_keys(keys + key * shape.size, count, shape.size, scratch + layout.keys);
    attend(p, block,
           {key, scratch + layout.keys,
            float_rows(values + key * shape.value_size, count, shape.value_size, scratch + layout.values)},
           scratch + layout.scores);
  }
  finish(p, block, args.out.data<T>() + (p.b * shape.heads + p.h) * shape.value_size,
         args.lse ? args.lse.data<float>() + head * shape.queries + begin : nullptr);
}

template <typename T>
void forward(const AttentionForwardWork& work) {
  const AttentionForwardArgs& args = work.args;
  const AttentionShape shape = attention_shape(args);
  const int64_t blocks = ceil_div(shape.queries, kRowBlock), items = shape.batch * shape.heads * blocks;
  if (items == 0 || shape.value_size == 0) return;
  // Blocks late in a causal sequence have more to do, so the longest go first.
  for_each_attention_item(work.scratch, items, [&](int64_t item, float* scratch) {
    const int64_t block = blocks - 1 - item / (shape.batch * shape.heads), head = item % (shape.batch * shape.heads);
    const int64_t b = head / shape.heads;
    const Problem problem{
        shape, visibility(args.mask, shape, b), Dropout(args.dropout, b), args.scale * kLog2E, b, head % shape.heads};
    attend_block<T>(args, problem, block * kRowBlock, scratch);
  });
}

}  // namespace

Shape attention_forward_scratch(const AttentionShape& shape, DType dtype) {
  const int64_t items = shape.batch * shape.heads * ceil_div(shape.queries, kRowBlock);
  return {attention_threads(shape, items), ForwardLayout(shape, dtype != DType::kF32).size};
}

void attention_forward(const Stream&, const AttentionForwardWork& work) {
  work.args.q.dtype() == DType::kF32 ? forward<float>(work) : forward<BF16>(work);
}

}  // namespace conclave::kernels::cpu
