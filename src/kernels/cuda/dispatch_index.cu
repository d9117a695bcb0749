#include "kernels/cuda/groups.cuh"
#include "kernels/cuda/values.cuh"
#include "kernels/dispatch_index_backend.h"

namespace conclave::kernels::cuda {
namespace {

// Chunks are as many as experts of all ranks: one thread adds their sizes up, in both orders.
__global__ void chunk_begins_kernel(const int64_t* sizes, const int32_t* order, int64_t chunks, int64_t* begin,
                                    int64_t* place) {
  begin[0] = place[0] = 0;
  for (int64_t c = 0; c < chunks; ++c) begin[c + 1] = begin[c] + sizes[c];
  for (int64_t j = 0; j < chunks; ++j) place[j + 1] = place[j] + sizes[order[j]];
}

}  // namespace

void map_choices(const Stream& stream, const MapChoicesArgs& args) {
  const int64_t topk = args.experts.size(1), experts = args.table.size(0);
  const int64_t sources = args.source_rows ? args.source_rows.size(0) : 1;
  const int64_t* source_rows = pointer<const int64_t>(args.source_rows);
  const int32_t *choice = pointer<const int32_t>(args.experts), *table = pointer<const int32_t>(args.table);
  int32_t* out = pointer<int32_t>(args.out);
  for_each(stream, "map_choices", args.experts.element_count(), [=] __device__(auto i) {
    const int64_t token = int64_t{i} / topk;
    int64_t source = 0;
    if (source_rows != nullptr)
      for (int64_t before = source_rows[0]; source + 1 < sources && token >= before; before += source_rows[source])
        ++source;
    const int32_t expert = choice[i];
    const int32_t mapped = expert >= 0 && expert < experts ? table[expert] : -1;
    out[i] = mapped < 0 ? -1 : static_cast<int32_t>(mapped * sources + source);
  });
}

void destination_hits(const Stream& stream, const DestinationHitsArgs& args) {
  const int64_t topk = args.experts.size(1), experts = args.homes.size(0), destinations = args.homes.size(1);
  const int32_t* choice = pointer<const int32_t>(args.experts);
  const uint8_t* homes = pointer<const uint8_t>(args.homes);
  int32_t* hits = pointer<int32_t>(args.hits);
  for_each(stream, "destination_hits", args.hits.element_count(), [=] __device__(auto i) {
    const int64_t token = int64_t{i} / destinations, d = int64_t{i} % destinations;
    int32_t hit = -1;
    for (int64_t k = 0; k < topk; ++k) {
      const int32_t expert = choice[token * topk + k];
      if (expert >= 0 && expert < experts && homes[expert * destinations + d] != 0) hit = static_cast<int32_t>(d);
    }
    hits[i] = hit;
  });
}

void reorder_chunks(const Stream& stream, const ReorderChunksArgs& args) {
  const int64_t chunks = args.sizes.size(0), rows = args.from.size(0);
  if (chunks == 0) return;
  const Tensor begins =
      Tensor::empty(stream.device(), {2, chunks + 1}, DType::kI64, {MemoryCategory::kWorkspace, "where chunks begin"});
  int64_t *begin = begins.data<int64_t>(), *place = begin + chunks + 1;
  const int32_t* order = pointer<const int32_t>(args.order);
  chunk_begins_kernel<<<1, 1, 0, cuda_stream(stream)>>>(pointer<const int64_t>(args.sizes), order, chunks, begin,
                                                        place);
  check_launch("reorder_chunks");
  int32_t *from = pointer<int32_t>(args.from), *to = pointer<int32_t>(args.to);
  for_each(stream, "reorder_chunks", rows, [=] __device__(auto i) {
    const int64_t j = expert_of_row(place, chunks, i);
    if (j < 0) return;
    const int64_t row = begin[order[j]] + (int64_t{i} - place[j]);
    from[i] = static_cast<int32_t>(row);
    to[row] = static_cast<int32_t>(i);
  });
}

void compose_index(const Stream& stream, const ComposeIndexArgs& args) {
  const int64_t limit = args.table.size(0);
  const int32_t *table = pointer<const int32_t>(args.table), *index = pointer<const int32_t>(args.index);
  int32_t* out = pointer<int32_t>(args.out);
  for_each(stream, "compose_index", args.index.size(0), [=] __device__(auto i) {
    const int32_t at = index[i];
    out[i] = at >= 0 && at < limit ? table[at] : -1;
  });
}

}  // namespace conclave::kernels::cuda
