#include <cmath>

#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {
namespace {

// Queries that share one turned block of keys: many, but so that all threads have work. Rows do not know of each other,
// so results do not depend on it.
int64_t row_block(const AttentionShape& shape) {
  constexpr int64_t kMost = 24 * kRowTile, kLeast = 4 * kRowTile;
  const int64_t share = ceil_div(shape.batch * shape.heads * shape.queries, 2 * int64_t{omp_get_max_threads()});
  return std::clamp(round_up(share, kRowTile), kLeast, kMost);
}
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Where the parts of a thread's scratch begin, in floats.
struct ForwardLayout {
  int64_t keys, values, queries, sums, scores, largest, totals, size;
  ForwardLayout(const AttentionShape& shape, bool copies, bool copies_queries) {
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
      const int64_t begin = at;
      at += round_up(floats, kLanes);
      return begin;
    };
    const int64_t rows = std::min(row_block(shape), shape.queries);
    keys = take(shape.size * kKeyBlock);
    values = take(copies || shape.value_size % kLanes != 0 ? kKeyBlock * padded(shape.value_size) : 0);
    queries = take(copies_queries ? rows * padded(shape.size) : 0);
    sums = take(rows * padded(shape.value_size));
    scores = take(kRowTile * kKeyBlock);
    largest = take(rows);
    totals = take(rows * kLanes);
    size = at;
  }
};

template <typename T>
ForwardLayout layout_of(const AttentionShape& shape) {
  return {shape, needs_copy<T>(kLanes), needs_copy<T>(kLanes) && !kTurnsPairs<T>};
}

// Running state of a block of queries of one head.
template <typename T>
struct RowBlock {
  int64_t begin = 0, rows = 0;
  ScoreRows<T> queries{};
  float* sums = nullptr;     // [rows, Dv up to whole vectors]: Σ p v
  float* largest = nullptr;  // [rows]: largest score so far, times log2 e
  float* totals = nullptr;   // [rows, 16]: Σ p, one vector per row
};

// One block of keys and values.
struct KeyBlock {
  int64_t begin;
  const float* turned;  // by turn_keys()
  FloatRows values;
};

struct Problem {
  AttentionShape shape;
  Visibility sight;
  Dropout dropout;
  float score_scale;  // to powers of two
  int64_t b, h;
};

// Scores [rows, kKeyBlock] in powers of two, hidden ones at -infinity, and the new maximum of each row; rescale[r] is
// what the older sums of row r must be multiplied by, shift[r] what is taken off its scores.
template <bool whole>
void scale_scores(const Problem& p, const TileRange& range, float* scores, float* largest, float* rescale,
                  float* shift) {
  alignas(64) float before[kLanes] = {};
  for (int64_t r = 0; r < range.rows; ++r) {
    VecF most = broadcast(-kInfinity);
    for (int64_t v = range.first_vector(); v < range.last_vector(); ++v) {
      float* at = scores + r * kKeyBlock + v * kLanes;
      VecF score = load(at) * p.score_scale;
      if constexpr (!whole) score = select(range.seen(r, v), score, broadcast(-kInfinity));
      store(at, score);
      most = maximum(most, score);
    }
    before[r] = largest[r];
    largest[r] = std::max(largest[r], maximum_lane(most));
    shift[r] = largest[r] == -kInfinity ? 0.0f : largest[r];
  }
  store(rescale, exp2_below_127(load(before) - load(shift)));
}

// Turns scores into probabilities relative to the new maximum and adds them to the totals, one vector per row.
void softmax_tile(const Problem& p, const TileRange& range, float* scores, float* largest, float* totals,
                  float* rescale) {
  alignas(64) float shift[kLanes] = {};
  range.whole ? scale_scores<true>(p, range, scores, largest, rescale, shift)
              : scale_scores<false>(p, range, scores, largest, rescale, shift);
  const int64_t v0 = range.first_vector(), v1 = range.last_vector();
  for (int64_t r = 0; r < range.rows; ++r) {
    float* row = scores + r * kKeyBlock;
    VecF total = load(totals + r * kLanes) * rescale[r];
    for (int64_t v = v0; v < v1; ++v) {
      const VecF probability = exp2_below_127(load(row + v * kLanes) - shift[r]);
      store(row + v * kLanes, probability);
      total += probability;
    }
    store(totals + r * kLanes, total);
  }
}

// Adds what the queries of the block see of one block of keys.
template <typename T>
void attend(const Problem& p, const RowBlock<T>& block, const KeyBlock& keys, float* scores) {
  const int64_t width = padded(p.shape.value_size);
  for (int64_t row = 0; row < block.rows; row += kRowTile) {
    const TileRange range(p.sight, block.begin + row, std::min(kRowTile, block.rows - row), keys.begin);
    if (range.empty()) continue;
    score_tile<T>(block.queries, row, p.shape.size, keys.turned, range, scores);
    alignas(64) float rescale[kLanes];
    softmax_tile(p, range, scores, block.largest + row, block.totals + row * kLanes, rescale);
    for (int64_t r = 0; r < range.rows && p.dropout; ++r) {
      p.dropout.apply(p.shape.element(p.h, block.begin + row + r, keys.begin), scores + r * kKeyBlock);
    }
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

// Where the results of a block of queries go.
template <typename T>
struct Results {
  T* out;
  float* lse;        // or null
  float* max_logit;  // or null
  float sink;        // score of the key without a value; -infinity: there is none
};

// A row's denominator with the sink in it, relative to the larger of the sink and the row's scores.
struct Denominator {
  float largest;  // natural
  float total;    // relative to e^largest
  float rescale;  // of what was summed relative to the scores' own maximum
  Denominator(float scores_largest, float scores_total, float sink)
      : largest(scores_largest), total(scores_total), rescale(1) {
    if (sink == -kInfinity) return;
    largest = std::max(scores_largest, sink);
    rescale = std::exp(scores_largest - largest);
    total = scores_total * rescale + std::exp(sink - largest);
  }
};

template <typename T>
void finish(const Problem& p, const RowBlock<T>& block, const Results<T>& results) {
  const int64_t width = padded(p.shape.value_size), stride = p.shape.batch * p.shape.heads * p.shape.value_size;
  for (int64_t r = 0; r < block.rows; ++r) {
    const float largest = block.largest[r] * kLn2;
    const Denominator all(largest, sum_lanes(load(block.totals + r * kLanes)), results.sink);
    const float inverse = all.total == 0 ? 0.0f : all.rescale / all.total;
    T* target = results.out + (block.begin + r) * stride;
    for_each_vector(p.shape.value_size, [&](int64_t d, int64_t n) CONCLAVE_INLINE_LAMBDA {
      store_some(target + d, load(block.sums + r * width + d) * inverse, n);
    });
    if (results.lse != nullptr) results.lse[r] = all.total == 0 ? -kInfinity : all.largest + std::log(all.total);
    // The maximum passes over NaN, the sum does not.
    if (results.max_logit != nullptr) results.max_logit[r] = std::isnan(all.total) ? all.total : largest;
  }
}

template <typename T>
void attend_block(const AttentionForwardArgs& args, const Problem& p, int64_t begin, int64_t end, float* scratch) {
  const AttentionShape& shape = p.shape;
  const ForwardLayout layout = layout_of<T>(shape);
  const int64_t head = p.b * shape.heads + p.h;
  RowBlock<T> block{begin, end - begin};
  const T* queries = args.q.data<T>() + (head * shape.queries + begin) * shape.size;
  if constexpr (std::is_same_v<T, ScoreNumber<T>>) {
    block.queries = {queries, shape.size};  // read one number or pair at a time, so no padding is needed
  } else {
    const FloatRows copy = float_rows(queries, block.rows, shape.size, scratch + layout.queries);
    block.queries = {copy.data, copy.stride};
  }
  block.sums = scratch + layout.sums;
  block.largest = scratch + layout.largest;
  block.totals = scratch + layout.totals;
  std::fill_n(block.sums, block.rows * padded(shape.value_size), 0.0f);
  std::fill_n(block.largest, block.rows, -kInfinity);
  std::fill_n(block.totals, block.rows * kLanes, 0.0f);

  const int64_t group = p.b * shape.groups + p.h / (shape.heads / shape.groups);
  const T* keys = args.k.data<T>() + group * shape.key_stride * shape.size;
  const T* values = args.v.data<T>() + group * shape.key_stride * shape.value_size;
  const KeyRange range = p.sight.of_rows(begin, end);
  for (int64_t key = range.first / kKeyBlock * kKeyBlock; key < range.last; key += kKeyBlock) {
    const int64_t count = std::min(kKeyBlock, shape.keys - key);
    turn_keys(keys + key * shape.size, count, shape.size, scratch + layout.keys);
    attend<T>(p, block,
              {key, scratch + layout.keys,
               float_rows(values + key * shape.value_size, count, shape.value_size, scratch + layout.values)},
              scratch + layout.scores);
  }
  const auto rows_of = [&](const Tensor& tensor) {
    return tensor ? tensor.data<float>() + head * shape.queries + begin : nullptr;
  };
  finish<T>(p, block,
            {args.out.data<T>() + (p.b * shape.heads + p.h) * shape.value_size, rows_of(args.lse),
             rows_of(args.max_logit), args.sink ? to_float(args.sink.data<T>()[p.h]) : -kInfinity});
}

template <typename T>
void forward(const AttentionForwardWork& work) {
  const AttentionForwardArgs& args = work.args;
  const AttentionShape shape = attention_shape(args);
  const int64_t rows = row_block(shape), blocks = ceil_div(shape.queries, rows);
  const int64_t items = shape.batch * shape.heads * blocks;
  if (items == 0 || shape.value_size == 0) return;
  // Blocks late in a causal sequence have more to do, so the longest go first.
  for_each_attention_item(work.scratch, items, [&](int64_t item, float* scratch) {
    const int64_t block = blocks - 1 - item / (shape.batch * shape.heads), head = item % (shape.batch * shape.heads);
    const int64_t b = head / shape.heads;
    const Problem problem{
        shape, visibility(args.mask, shape, b), Dropout(args.dropout, b), args.scale * kLog2E, b, head % shape.heads};
    attend_block<T>(args, problem, block * rows, std::min((block + 1) * rows, shape.queries), scratch);
  });
}

}  // namespace

Shape attention_forward_scratch(const AttentionShape& shape, DType dtype) {
  const int64_t items = shape.batch * shape.heads * ceil_div(shape.queries, row_block(shape));
  return {attention_threads(shape, items),
          (dtype == DType::kF32 ? layout_of<float>(shape) : layout_of<BF16>(shape)).size};
}

void attention_forward(const Stream&, const AttentionForwardWork& work) {
  work.args.q.dtype() == DType::kF32 ? forward<float>(work) : forward<BF16>(work);
}

}  // namespace conclave::kernels::cpu
