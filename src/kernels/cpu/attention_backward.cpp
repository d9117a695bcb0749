#include <cmath>

#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kChunk = 4 * kRowTile;  // queries whose probabilities stand at once
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a piece of work adds to. Gradients of keys and values are summed over queries, those of queries over keys, both
// in ascending order, so that one pass and two passes give the same bits.
enum class Wanted { kAll, kKeysAndValues, kQueries };

// Where the parts of a thread's scratch begin, in floats.
struct BackwardLayout {
  int64_t turned_keys, turned_values, keys, queries, douts, dkeys, dvalues, probabilities, dscores, size;
  BackwardLayout(const AttentionShape& shape, bool copies) {
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
      const int64_t begin = at;
      at += round_up(floats, kLanes);
      return begin;
    };
    const int64_t width = padded(shape.size), value_width = padded(shape.value_size);
    const bool padding = copies || width != shape.size;
    turned_keys = take(shape.size * kKeyBlock);
    turned_values = take(shape.value_size * kKeyBlock);
    keys = take(padding ? kKeyBlock * width : 0);
    queries = take(padding ? kChunk * width : 0);
    douts = take(kChunk * value_width);
    dkeys = take(kKeyBlock * width);
    dvalues = take(kKeyBlock * value_width);
    probabilities = take(kChunk * kKeyBlock);
    dscores = take(kChunk * kKeyBlock);
    size = at;
  }
};

// One head's queries as the pass sees them; `dq` may be a buffer of sums with rows of whole vectors.
template <typename T>
struct Head {
  int64_t h;
  Dropout dropout;
  const T* queries;  // [S, D]
  int64_t query_stride;
  const T* douts;  // row i at i * dout_stride
  int64_t dout_stride;
  const float* lse;    // [S]
  const float* delta;  // [S]
  float* dq;           // [S, padded D]
};

// One block of keys and values in every form that the products read.
struct KeyBlock {
  int64_t begin, count;
  const float* turned_keys;  // by turn_keys()
  const float* turned_values;
  FloatRows keys;
  float* dkeys;    // [kKeyBlock, padded D]
  float* dvalues;  // [kKeyBlock, padded Dv]
};

// A chunk of queries: its rows and what is computed of them, all relative to `begin`.
struct Chunk {
  int64_t begin, rows;
  FloatRows queries, douts;
  float* probabilities;  // [rows, kKeyBlock]
  float* dscores;        // [rows, kKeyBlock]
};

template <typename T>
class Pass {
 public:
  Pass(const AttentionBackwardWork& work, Wanted wanted)
      : args_(work.args),
        shape_(attention_shape(work.args)),
        wanted_(wanted),
        layout_(shape_, !std::is_same_v<T, float>),
        width_(padded(shape_.size)),
        value_width_(padded(shape_.value_size)) {
    delta_ = work.delta.data<float>();
    if (work.dq_sums) {
      dq_ = work.dq_sums.data<float>();
    } else if constexpr (std::is_same_v<T, float>) {
      dq_ = args_.dq.template data<float>();
    }
  }

  /// All that one block of keys of one key/value head takes part in.
  void key_block(int64_t group, int64_t begin, float* scratch) const {
    const int64_t b = group / shape_.groups, per_group = shape_.heads / shape_.groups;
    const Visibility sight = visibility(args_.mask, shape_, b);
    const KeyBlock keys = prepare_keys(group, begin, scratch);
    if (wanted_ != Wanted::kQueries) {
      std::fill_n(keys.dkeys, kKeyBlock * width_, 0.0f);
      std::fill_n(keys.dvalues, kKeyBlock * value_width_, 0.0f);
    }
    for (int64_t i = 0; i < per_group; ++i)
      query_rows(head(b, group % shape_.groups * per_group + i), sight, keys, 0, shape_.queries, scratch);
    if (wanted_ != Wanted::kQueries) store_keys(group, keys);
  }

  /// Gradients of queries [begin, end) of one head, over all blocks of keys.
  void query_block(int64_t b, int64_t h, int64_t begin, int64_t end, float* scratch) const {
    const Visibility sight = visibility(args_.mask, shape_, b);
    const int64_t group = b * shape_.groups + h / (shape_.heads / shape_.groups);
    const KeyRange range = sight.of_rows(begin, end);
    for (int64_t key = range.first / kKeyBlock * kKeyBlock; key < range.last; key += kKeyBlock)
      query_rows(head(b, h), sight, prepare_keys(group, key, scratch), begin, end, scratch);
  }

  /// Zeroes the sums of one head's queries.
  void clear_queries(int64_t head) const {
    std::fill_n(dq_ + head * shape_.queries * width_, shape_.queries * width_, 0.0f);
  }

  /// Moves the sums into dq, where they are not there already.
  void store_queries(int64_t head) const {
    T* dq = args_.dq.template data<T>() + head * shape_.queries * shape_.size;
    const float* sums = dq_ + head * shape_.queries * width_;
    if (static_cast<const void*>(dq) == static_cast<const void*>(sums)) return;
    store_rows(sums, width_, shape_.queries, shape_.size, dq);
  }

 private:
  Head<T> head(int64_t b, int64_t h) const {
    const int64_t index = b * shape_.heads + h;
    return {h,
            Dropout(args_.dropout, b),
            args_.q.template data<T>() + index * shape_.queries * shape_.size,
            shape_.size,
            args_.dout.template data<T>() + index * shape_.value_size,
            shape_.batch * shape_.heads * shape_.value_size,
            args_.lse.template data<float>() + index * shape_.queries,
            delta_ + index * shape_.queries,
            dq_ + index * shape_.queries * width_};
  }

  KeyBlock prepare_keys(int64_t group, int64_t begin, float* scratch) const {
    const int64_t count = std::min(kKeyBlock, shape_.keys - begin), row = group * shape_.key_stride + begin;
    const T* keys = args_.k.template data<T>() + row * shape_.size;
    const T* values = args_.v.template data<T>() + row * shape_.value_size;
    turn_keys(keys, count, shape_.size, scratch + layout_.turned_keys);
    turn_keys(values, count, shape_.value_size, scratch + layout_.turned_values);
    return {begin,
            count,
            scratch + layout_.turned_keys,
            scratch + layout_.turned_values,
            float_rows(keys, count, shape_.size, scratch + layout_.keys),
            scratch + layout_.dkeys,
            scratch + layout_.dvalues};
  }

  void store_keys(int64_t group, const KeyBlock& keys) const {
    const int64_t row = group * shape_.key_stride + keys.begin;
    store_rows(keys.dkeys, width_, keys.count, shape_.size, args_.dk.template data<T>() + row * shape_.size);
    store_rows(keys.dvalues, value_width_, keys.count, shape_.value_size,
               args_.dv.template data<T>() + row * shape_.value_size);
  }

  static void store_rows(const float* source, int64_t stride, int64_t count, int64_t size, T* target) {
    for (int64_t r = 0; r < count; ++r) {
      for_each_vector(size, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
        store_some(target + r * size + j, load(source + r * stride + j), n);
      });
    }
  }

  // Queries [begin, end) of a head against one block of keys. Chunks start at multiples of the tile.
  void query_rows(const Head<T>& head, const Visibility& sight, const KeyBlock& keys, int64_t begin, int64_t end,
                  float* scratch) const {
    if (sight.causal) begin = std::max(begin, (keys.begin - sight.offset) / kRowTile * kRowTile);
    if (sight.window > 0) end = std::min(end, keys.begin + keys.count - 1 - sight.offset + sight.window);
    for (int64_t row = begin; row < end; row += kChunk) {
      const int64_t rows = std::min(kChunk, end - row);
      bool any = false;
      for (int64_t tile = 0; tile < rows && !any; tile += kRowTile)
        any = !TileRange(sight, row + tile, std::min(kRowTile, rows - tile), keys.begin).empty();
      if (any) chunk(head, sight, keys, row, rows, scratch);
    }
  }

  void chunk(const Head<T>& head, const Visibility& sight, const KeyBlock& keys, int64_t begin, int64_t rows,
             float* scratch) const {
    // dout's rows are far apart, often by a power of two, and would evict each other from the nearest cache.
    copy_rows(head.douts + begin * head.dout_stride, head.dout_stride, rows, shape_.value_size,
              scratch + layout_.douts);
    const Chunk chunk{begin,
                      rows,
                      float_rows(head.queries + begin * shape_.size, rows, shape_.size, scratch + layout_.queries),
                      {scratch + layout_.douts, value_width_},
                      scratch + layout_.probabilities,
                      scratch + layout_.dscores};
    for (int64_t row = 0; row < rows; row += kRowTile) {
      const TileRange range(sight, begin + row, std::min(kRowTile, rows - row), keys.begin);
      clear_unseen(range, chunk, row);
      if (!range.empty()) tile(head, keys, chunk, row, range);
    }
    if (wanted_ != Wanted::kQueries) add_to_keys(sight, keys, chunk);
  }

  // Sums over rows of the chunk run over vectors that no product has filled.
  static void clear_unseen(const TileRange& range, const Chunk& chunk, int64_t row) {
    const int64_t v0 = range.empty() ? kBlockVectors : range.first_vector(), v1 = range.last_vector();
    for (int64_t r = row; r < row + range.rows; ++r) {
      for (int64_t v = 0; v < kBlockVectors; ++v) {
        if (v >= v0 && v < v1) continue;
        store(chunk.probabilities + r * kKeyBlock + v * kLanes, VecF{});
        store(chunk.dscores + r * kKeyBlock + v * kLanes, VecF{});
      }
    }
  }

  void tile(const Head<T>& head, const KeyBlock& keys, const Chunk& chunk, int64_t row, const TileRange& range) const {
    float* probabilities = chunk.probabilities + row * kKeyBlock;
    float* dscores = chunk.dscores + row * kKeyBlock;
    score_tile<T>(queries_for_scores(head, chunk), row, shape_.size, keys.turned_keys, range, probabilities);
    score_tile<T>(douts_for_scores(head, chunk), row, shape_.value_size, keys.turned_values, range, dscores);
    softmax_gradient(head, keys, chunk.begin + row, range, probabilities, dscores);
    if (wanted_ == Wanted::kKeysAndValues) return;
    tile_product<kKeyBlock>({.a = dscores + range.begin,
                             .a_row = kKeyBlock,
                             .a_depth = 1,
                             .b = keys.keys.data + range.begin * keys.keys.stride,
                             .b_row = keys.keys.stride,
                             .c = head.dq + (chunk.begin + row) * width_,
                             .c_row = width_,
                             .rows = range.rows,
                             .vectors = width_ / kLanes,
                             .depth = range.end - range.begin,
                             .start = TileStart::kAdd});
  }

  static ScoreRows<T> queries_for_scores(const Head<T>& head, const Chunk& chunk) {
    if constexpr (kTurnsPairs<T>) {
      const int64_t size = head.query_stride;
      return {head.queries + chunk.begin * size, size};
    } else {
      return {chunk.queries.data, chunk.queries.stride};
    }
  }
  static ScoreRows<T> douts_for_scores(const Head<T>& head, const Chunk& chunk) {
    if constexpr (kTurnsPairs<T>) {
      return {head.douts + chunk.begin * head.dout_stride, head.dout_stride};
    } else {
      return {chunk.douts.data, chunk.douts.stride};
    }
  }

  // From scores and dout·v to (dropped) probabilities and gradients of scores, in place.
  void softmax_gradient(const Head<T>& head, const KeyBlock& keys, int64_t first_row, const TileRange& range,
                        float* probabilities, float* dscores) const {
    const auto drop = [&](float* rows) {
      for (int64_t r = 0; r < range.rows; ++r) {
        head.dropout.apply(shape_.element(head.h, first_row + r, keys.begin), rows + r * kKeyBlock);
      }
    };
    if (head.dropout) drop(dscores);
    range.whole ? gradient_rows<true>(head, first_row, range, probabilities, dscores)
                : gradient_rows<false>(head, first_row, range, probabilities, dscores);
    if (head.dropout) drop(probabilities);
  }

  template <bool whole>
  void gradient_rows(const Head<T>& head, int64_t first_row, const TileRange& range, float* probabilities,
                     float* dscores) const {
    const float to_power = args_.scale * kLog2E, scale = args_.scale;
    for (int64_t r = 0; r < range.rows; ++r) {
      const int64_t i = first_row + r;
      // Rows that see nothing have no log-sum-exp: +infinity makes their probabilities zero.
      const float lse = head.lse[i] == -kInfinity ? kInfinity : head.lse[i] * kLog2E, delta = head.delta[i];
      for (int64_t v = range.first_vector(); v < range.last_vector(); ++v) {
        float* p = probabilities + r * kKeyBlock + v * kLanes;
        float* d = dscores + r * kKeyBlock + v * kLanes;
        VecF probability = exp2_below_127(load(p) * to_power - lse);
        VecF gradient = probability * ((load(d) - delta) * scale);
        if constexpr (!whole) {
          const VecI seen = range.seen(r, v);
          probability = select(seen, probability, VecF{});
          gradient = select(seen, gradient, VecF{});
        }
        store(p, probability);
        store(d, gradient);
      }
    }
  }

  // dv += p^T dout and dk += ds^T q over the chunk, by groups of keys; rows before those that see a group are left out.
  void add_to_keys(const Visibility& sight, const KeyBlock& keys, const Chunk& chunk) const {
    for (int64_t key = 0; key < keys.count; key += kRowTile) {
      const int64_t count = std::min(kRowTile, keys.count - key), at = keys.begin + key;
      int64_t first = 0, last = chunk.rows;
      if (sight.causal) first = std::clamp<int64_t>(at - sight.offset - chunk.begin, 0, chunk.rows);
      if (sight.window > 0)
        last = std::clamp<int64_t>(at + count - 1 - sight.offset + sight.window - chunk.begin, first, chunk.rows);
      if (first == last) continue;
      const auto add = [&](const float* weights, const FloatRows& rows, float* to, int64_t width) {
        tile_product<1>({.a = weights + first * kKeyBlock + key,
                         .a_row = 1,
                         .a_depth = kKeyBlock,
                         .b = rows.data + first * rows.stride,
                         .b_row = rows.stride,
                         .c = to + key * width,
                         .c_row = width,
                         .rows = count,
                         .vectors = width / kLanes,
                         .depth = last - first,
                         .start = TileStart::kAdd});
      };
      add(chunk.probabilities, chunk.douts, keys.dvalues, value_width_);
      add(chunk.dscores, chunk.queries, keys.dkeys, width_);
    }
  }

  const AttentionBackwardArgs& args_;
  AttentionShape shape_;
  Wanted wanted_;
  BackwardLayout layout_;
  int64_t width_, value_width_;
  const float* delta_ = nullptr;
  float* dq_ = nullptr;
};

// delta[b,h,i] = dout · out.
template <typename T>
void fill_delta(const AttentionBackwardArgs& args, const AttentionShape& shape, float* delta) {
  const T* out = args.out.data<T>();
  const T* dout = args.dout.data<T>();
  const int64_t size = shape.value_size;
#pragma omp parallel for schedule(static) if (args.out.element_count() >= (1 << 15))
  for (int64_t row = 0; row < shape.batch * shape.heads; ++row) {
    for (int64_t i = 0; i < shape.queries; ++i) {
      const int64_t at = (i * shape.batch * shape.heads + row) * size;
      VecF sum{};
      for_each_vector(size, [&](int64_t d, int64_t n) CONCLAVE_INLINE_LAMBDA {
        sum += load_some(out + at + d, n) * load_some(dout + at + d, n);
      });
      delta[row * shape.queries + i] = sum_lanes(sum);
    }
  }
}

// dsink[h] -= Σ_bi e^(sink - lse) delta: the sink's probability times what its score would have to give.
template <typename T>
void add_sink_gradient(const AttentionBackwardArgs& args, const AttentionShape& shape, const float* delta) {
  const float* lse = args.lse.data<float>();
  float* dsink = args.dsink.data<float>();
#pragma omp parallel for schedule(static) if (args.lse.element_count() >= (1 << 13))
  for (int64_t h = 0; h < shape.heads; ++h) {
    const float sink = to_float(args.sink.data<T>()[h]);
    double sum = 0;
    for (int64_t b = 0; b < shape.batch; ++b) {
      const int64_t first = (b * shape.heads + h) * shape.queries;
      for (int64_t i = first; i < first + shape.queries; ++i)
        sum += static_cast<double>(std::exp(sink - lse[i])) * static_cast<double>(delta[i]);
    }
    dsink[h] -= static_cast<float>(sum);
  }
}

// One pass takes each key/value head whole: five products per block. Where there are fewer heads than threads, two
// passes share the work more evenly at the price of computing scores twice: seven products.
template <typename T>
void backward(const AttentionBackwardWork& work) {
  const AttentionShape shape = attention_shape(work.args);
  const int64_t groups = shape.batch * shape.groups, per_group = shape.heads / shape.groups;
  const int64_t blocks = ceil_div(shape.keys, kKeyBlock);
  if (shape.queries > 0) fill_delta<T>(work.args, shape, work.delta.data<float>());
  if (work.args.dsink) add_sink_gradient<T>(work.args, shape, work.delta.data<float>());
  if (groups >= work.scratch.size(0)) {
    const Pass<T> pass(work, Wanted::kAll);
    for_each_attention_item(work.scratch, groups, [&](int64_t group, float* scratch) {
      for (int64_t i = 0; i < per_group; ++i) pass.clear_queries(group * per_group + i);
      for (int64_t block = 0; block < blocks; ++block) pass.key_block(group, block * kKeyBlock, scratch);
      for (int64_t i = 0; i < per_group; ++i) pass.store_queries(group * per_group + i);
    });
    return;
  }
  const Pass<T> keys(work, Wanted::kKeysAndValues), queries(work, Wanted::kQueries);
  for_each_attention_item(work.scratch, groups * blocks, [&](int64_t item, float* scratch) {
    keys.key_block(item / blocks, item % blocks * kKeyBlock, scratch);
  });
  constexpr int64_t kRows = 4 * kChunk;
  const int64_t row_blocks = ceil_div(shape.queries, kRows), heads = shape.batch * shape.heads;
  for_each_attention_item(work.scratch, heads, [&](int64_t head, float*) { queries.clear_queries(head); });
  for_each_attention_item(work.scratch, heads * row_blocks, [&](int64_t item, float* scratch) {
    const int64_t head = item % heads, begin = (row_blocks - 1 - item / heads) * kRows;
    queries.query_block(head / shape.heads, head % shape.heads, begin, std::min(begin + kRows, shape.queries), scratch);
  });
  for_each_attention_item(work.scratch, heads, [&](int64_t head, float*) { queries.store_queries(head); });
}

}  // namespace

Shape attention_backward_scratch(const AttentionShape& shape, DType dtype) {
  const int64_t items = shape.batch * shape.groups * std::max<int64_t>(ceil_div(shape.keys, kKeyBlock), 1);
  return {attention_threads(shape, items), BackwardLayout(shape, dtype != DType::kF32).size};
}

void attention_backward(const Stream&, const AttentionBackwardWork& work) {
  work.args.q.dtype() == DType::kF32 ? backward<float>(work) : backward<BF16>(work);
}

}  // namespace conclave::kernels::cpu
