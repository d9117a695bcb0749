#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/values.cuh"
#include "kernels/embedding_backend.h"

namespace conclave::kernels::cuda {
namespace {

template <typename T, int V>
void forward(const Stream& stream, const EmbeddingForwardArgs& args) {
  const int64_t batch = args.ids.size(0), length = args.ids.size(1), width = args.table.size(1), packs = width / V;
  const int64_t rows = args.table.size(0), first = args.shard.first;
  const int32_t* ids = pointer<const int32_t>(args.ids);
  const T* table = pointer<const T>(args.table);
  T* y = pointer<T>(args.y);
  const bool add = args.accumulate == Accumulate::kAdd;
  for_each(stream, "embedding_forward", batch * length * packs, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index t = i / static_cast<Index>(packs), column = (i - t * static_cast<Index>(packs)) * V;
    const Index s = t / static_cast<Index>(batch), b = t - s * static_cast<Index>(batch);
    const int64_t id = ids[int64_t{b} * length + s] - first;
    T* out = y + int64_t{i} * V;
    if (id < 0 || id >= rows) {
      if (!add) store(out, Pack<T, V>{});
      return;
    }
    auto row = load<V>(table + id * width + column);
    if (add) {
      const auto before = load<V>(out);
      for (int j = 0; j < V; ++j) row.at[j] = narrow<T>(wide(before.at[j]) + wide(row.at[j]));
    }
    store(out, row);
  });
}

// A token in the order of its id: the id above, t below, so that all are different and the order is one.
// Ids that are none go behind all others.
void make_keys(const Stream& stream, const Tensor& ids, int64_t vocabulary, int64_t* keys) {
  const int64_t batch = ids.size(0), length = ids.size(1);
  const int32_t* data = pointer<const int32_t>(ids);
  for_each(stream, "embedding_backward", batch * length, [=] __device__(auto t) {
    using Index = decltype(t);
    const Index s = t / static_cast<Index>(batch), b = t - s * static_cast<Index>(batch);
    const int64_t id = data[int64_t{b} * length + s];
    keys[t] = (id >= 0 && id < vocabulary ? id : vocabulary) << 32 | int64_t{t};
  });
}

/// The sorted keys, in `order`, by the bits of ids up to `vocabulary` alone. The sort is stable.
void sort_keys(const Stream& stream, const Tensor& unsorted, const Tensor& order, int64_t vocabulary) {
  int bits = 33;
  while ((int64_t{1} << (bits - 32)) <= vocabulary) ++bits;
  const auto count = static_cast<int>(order.element_count());
  auto* in = reinterpret_cast<uint64_t*>(unsorted.data<int64_t>());
  auto* out = reinterpret_cast<uint64_t*>(order.data<int64_t>());
  size_t room = 0;
  CONCLAVE_CUDA(cub::DeviceRadixSort::SortKeys(nullptr, room, in, out, count, 32, bits, cuda_stream(stream)));
  const Tensor memory = Tensor::empty(stream.device(), {static_cast<int64_t>(room)}, DType::kU8,
                                      {MemoryCategory::kWorkspace, "sort of the tokens by id"});
  CONCLAVE_CUDA(cub::DeviceRadixSort::SortKeys(memory.raw(), room, in, out, count, 32, bits, cuda_stream(stream)));
}

struct Rows {
  const int64_t* keys;
  float* dtable;
  int64_t tokens, width, first, rows;
};

// A block per place in the order; the first place of an id adds all rows of that id, in order of t.
template <typename T, int V>
__global__ void add_rows_kernel(Rows r, const T* dy) {
  const int64_t place = blockIdx.x, id = r.keys[place] >> 32;
  if (id < r.first || id >= r.first + r.rows) return;
  if (place > 0 && r.keys[place - 1] >> 32 == id) return;
  float* out = r.dtable + (id - r.first) * r.width;
  for (int64_t column = int64_t{threadIdx.x} * V; column < r.width; column += int64_t{blockDim.x} * V) {
    float sum[V];
    for (int j = 0; j < V; ++j) sum[j] = out[column + j];
    for (int64_t k = place; k < r.tokens; ++k) {
      const int64_t key = r.keys[k];
      if (key >> 32 != id) break;
      const auto row = load<V>(dy + (key & 0xffffffff) * r.width + column);
      for (int j = 0; j < V; ++j) sum[j] += wide(row.at[j]);
    }
    for (int j = 0; j < V; ++j) out[column + j] = sum[j];
  }
}

template <typename T, int V>
void backward(const Stream& stream, const EmbeddingBackwardWork& work) {
  const Tensor& dtable = work.args.dtable;
  const Rows rows{pointer<const int64_t>(work.order),
                  pointer<float>(dtable),
                  work.order.element_count(),
                  dtable.size(1),
                  work.args.shard.first,
                  dtable.size(0)};
  const auto threads = static_cast<unsigned>(std::clamp<int64_t>(round_up(ceil_div(rows.width, V), 32), 32, 256));
  add_rows_kernel<T, V>
      <<<static_cast<unsigned>(rows.tokens), threads, 0, cuda_stream(stream)>>>(rows, pointer<const T>(work.args.dy));
  check_launch("embedding_backward");
}

}  // namespace

// Ids outside the vocabulary are found on the host, where the data comes from; here their rows are zeros.
void embedding_forward(const Stream& stream, const EmbeddingForwardArgs& args) {
  with_float(args.table.dtype(), [&](auto zero) {
    using T = decltype(zero);
    args.table.size(1) % kWide<T> == 0 && aligned(16, args.table, args.y) ? forward<T, kWide<T>>(stream, args)
                                                                          : forward<T, 1>(stream, args);
  });
}

void embedding_backward(const Stream& stream, const EmbeddingBackwardWork& work) {
  if (work.order.element_count() == 0 || work.args.dtable.size(1) == 0) return;
  const VocabularyShard& shard = work.args.shard;
  const Tensor unsorted = Tensor::empty(stream.device(), work.order.shape(), DType::kI64,
                                        {MemoryCategory::kWorkspace, "tokens before their sort"});
  const int64_t vocabulary = shard.total > 0 ? shard.total : work.args.dtable.size(0);
  make_keys(stream, work.args.ids, vocabulary, unsorted.data<int64_t>());
  sort_keys(stream, unsorted, work.order, vocabulary);
  with_float(work.args.dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    work.args.dtable.size(1) % kWide<T> == 0 && aligned(16, work.args.dy) ? backward<T, kWide<T>>(stream, work)
                                                                          : backward<T, 1>(stream, work);
  });
}

}  // namespace conclave::kernels::cuda
