#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/dispatch_index_backend.h"

// Each op passes once over integers, few beside the rows that they steer: one thread does it.
namespace conclave::kernels::cpu {
namespace {

void check_index(const char* op, int64_t value, int64_t limit) {
  CONCLAVE_CHECK(value >= -1 && value < limit, "[kernels/{}] index {}; allowed are -1 to {}", op, value, limit - 1);
}

}  // namespace

void map_choices(const Stream&, const MapChoicesArgs& args) {
  const int64_t tokens = args.experts.size(0), topk = args.experts.size(1), experts = args.table.size(0);
  const std::vector<int64_t> whole{tokens};
  const int64_t* source_rows = args.source_rows ? args.source_rows.data<int64_t>() : whole.data();
  const int64_t sources = args.source_rows ? args.source_rows.size(0) : 1;
  CONCLAVE_CHECK_EQ(std::accumulate(source_rows, source_rows + sources, int64_t{0}), tokens, "rows of all sources");
  const int32_t *choice = args.experts.data<int32_t>(), *table = args.table.data<int32_t>();
  int32_t* out = args.out.data<int32_t>();
  for (int64_t source = 0; source < sources; ++source) {
    for (int64_t i = 0; i < source_rows[source] * topk; ++i, ++choice, ++out) {
      check_index("map_choices", *choice, experts);
      const int64_t mapped = *choice < 0 ? -1 : table[*choice];
      *out = mapped < 0 ? -1 : static_cast<int32_t>(mapped * sources + source);
    }
  }
}

void destination_hits(const Stream&, const DestinationHitsArgs& args) {
  const int64_t tokens = args.experts.size(0), topk = args.experts.size(1);
  const int64_t experts = args.homes.size(0), destinations = args.homes.size(1);
  const int32_t* choice = args.experts.data<int32_t>();
  const uint8_t* homes = args.homes.data<uint8_t>();
  int32_t* hits = args.hits.data<int32_t>();
  std::fill_n(hits, args.hits.element_count(), -1);
  for (int64_t t = 0; t < tokens; ++t, hits += destinations) {
    for (int64_t k = 0; k < topk; ++k, ++choice) {
      check_index("destination_hits", *choice, experts);
      if (*choice < 0) continue;
      const uint8_t* home = homes + *choice * destinations;
      for (int64_t d = 0; d < destinations; ++d)
        if (home[d] != 0) hits[d] = static_cast<int32_t>(d);
    }
  }
}

void reorder_chunks(const Stream&, const ReorderChunksArgs& args) {
  const int64_t chunks = args.sizes.size(0), rows = args.from.size(0);
  const int64_t* sizes = args.sizes.data<int64_t>();
  const int32_t* order = args.order.data<int32_t>();
  std::vector<int64_t> begin(static_cast<size_t>(chunks) + 1, 0);
  std::partial_sum(sizes, sizes + chunks, begin.begin() + 1);
  CONCLAVE_CHECK_EQ(begin.back(), rows, "rows of all chunks");
  int32_t *from = args.from.data<int32_t>(), *to = args.to.data<int32_t>();
  int64_t place = 0;
  for (int64_t j = 0; j < chunks; ++j) {
    CONCLAVE_CHECK(order[j] >= 0 && order[j] < chunks, "[kernels/reorder_chunks] chunk {} of {}", order[j], chunks);
    const auto chunk = static_cast<size_t>(order[j]);
    CONCLAVE_CHECK(place + begin[chunk + 1] - begin[chunk] <= rows, "[kernels/reorder_chunks] a chunk comes twice");
    for (int64_t row = begin[chunk]; row < begin[chunk + 1]; ++row, ++place) {
      from[place] = static_cast<int32_t>(row);
      to[row] = static_cast<int32_t>(place);
    }
  }
}

void compose_index(const Stream&, const ComposeIndexArgs& args) {
  const int32_t *table = args.table.data<int32_t>(), *index = args.index.data<int32_t>();
  int32_t* out = args.out.data<int32_t>();
  for (int64_t p = 0; p < args.index.size(0); ++p) {
    check_index("compose_index", index[p], args.table.size(0));
    out[p] = index[p] < 0 ? -1 : table[index[p]];
  }
}

}  // namespace conclave::kernels::cpu
