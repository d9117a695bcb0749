#include <algorithm>
#include <cstring>

#include "kernels/cpu/vector.h"
#include "kernels/embedding_backend.h"

namespace conclave::kernels::cpu {
namespace {

void check_ids(const char* op, const Tensor& ids, int64_t vocabulary) {
  const int32_t* data = ids.data<int32_t>();
  for (int64_t i = 0; i < ids.element_count(); ++i) {
    CONCLAVE_USER_CHECK(data[i] >= 0 && data[i] < vocabulary,
                        "[kernels/{}] token id {} in sequence {}, position {}, but the vocabulary has ids 0 to {}; "
                        "check that the data was made with this model's tokenizer",
                        op, data[i], i / ids.size(1), i % ids.size(1), vocabulary - 1);
  }
}

template <typename T>
void forward(const EmbeddingForwardArgs& args) {
  const int64_t batch = args.ids.size(0), length = args.ids.size(1), width = args.table.size(1);
  const int32_t* ids = args.ids.data<int32_t>();
  const T* table = args.table.data<T>();
  T* y = args.y.data<T>();
  const bool add = args.accumulate == Accumulate::kAdd;
  const int64_t rows = args.table.size(0);
#pragma omp parallel for schedule(static) if (args.y.element_count() >= (1 << 15))
  for (int64_t t = 0; t < length * batch; ++t) {
    const int64_t id = ids[t % batch * length + t / batch] - args.shard.first;
    T* out = y + t * width;
    if (id < 0 || id >= rows) {
      if (!add) std::memset(out, 0, static_cast<size_t>(width) * sizeof(T));
      continue;
    }
    const T* row = table + id * width;
    if (!add) {
      copy_row(out, row, width * static_cast<int64_t>(sizeof(T)));
      continue;
    }
    for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
      store_some(out + j, load_some(out + j, n) + load_some(row + j, n), n);
    });
  }
}

// A token in the order of its id: the id above, t below, so that all are different and the order is one.
int64_t make_key(int64_t id, int64_t t) { return id << 32 | t; }
int64_t id_of(int64_t key) { return key >> 32; }
int64_t token_of(int64_t key) { return key & 0xffffffff; }

void sort_tokens(const Tensor& ids, int64_t* keys) {
  const int64_t batch = ids.size(0), length = ids.size(1);
  const int32_t* data = ids.data<int32_t>();
  for (int64_t t = 0; t < batch * length; ++t) keys[t] = make_key(data[t % batch * length + t / batch], t);
  std::sort(keys, keys + batch * length);
}

template <typename T>
void backward(const EmbeddingBackwardWork& work) {
  const int64_t tokens = work.args.ids.element_count(), width = work.args.dtable.size(1);
  const int64_t first = work.args.shard.first, rows = work.args.dtable.size(0);
  int64_t* keys = work.order.data<int64_t>();
  sort_tokens(work.args.ids, keys);
  const T* dy = work.args.dy.data<T>();
  float* dtable = work.args.dtable.data<float>();
  // The first token of each id adds all rows of that id, in order.
#pragma omp parallel for schedule(dynamic, 64) if (tokens * width >= (1 << 15))
  for (int64_t i = 0; i < tokens; ++i) {
    const int64_t id = id_of(keys[i]);
    if (i > 0 && id_of(keys[i - 1]) == id) continue;
    if (id < first || id >= first + rows) continue;
    float* out = dtable + (id - first) * width;
    for (int64_t k = i; k < tokens && id_of(keys[k]) == id; ++k) {
      const T* row = dy + token_of(keys[k]) * width;
      for_each_vector(width, [&](int64_t j, int64_t n) CONCLAVE_INLINE_LAMBDA {
        store_some(out + j, load_some(out + j, n) + load_some(row + j, n), n);
      });
    }
  }
}

}  // namespace

void embedding_forward(const Stream&, const EmbeddingForwardArgs& args) {
  check_ids("embedding_forward", args.ids, args.shard.total > 0 ? args.shard.total : args.table.size(0));
  args.table.dtype() == DType::kF32 ? forward<float>(args) : forward<BF16>(args);
}

void embedding_backward(const Stream&, const EmbeddingBackwardWork& work) {
  const VocabularyShard& shard = work.args.shard;
  check_ids("embedding_backward", work.args.ids, shard.total > 0 ? shard.total : work.args.dtable.size(0));
  work.args.dy.dtype() == DType::kF32 ? backward<float>(work) : backward<BF16>(work);
}

}  // namespace conclave::kernels::cpu
