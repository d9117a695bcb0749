// Which rows travel where, by the definitions.
#pragma once

#include <cstdint>
#include <vector>

namespace conclave::kernels::ref {

template <typename T>
struct MapChoices {
  int64_t tokens = 0, topk = 0, sources = 1;
  const T* experts = nullptr;
  const T* table = nullptr;
  const T* source_rows = nullptr;  ///< optional
  T* out = nullptr;
};

template <typename T>
void map_choices(const MapChoices<T>& m) {
  for (int64_t t = 0; t < m.tokens; ++t) {
    int64_t source = 0;
    if (m.source_rows != nullptr)
      for (int64_t end = static_cast<int64_t>(m.source_rows[0]); end <= t; ++source)
        end += static_cast<int64_t>(m.source_rows[source + 1]);
    for (int64_t i = t * m.topk; i < (t + 1) * m.topk; ++i) {
      const T mapped = m.experts[i] < 0 ? T{-1} : m.table[static_cast<int64_t>(m.experts[i])];
      m.out[i] = mapped < 0 ? T{-1} : mapped * static_cast<T>(m.sources) + static_cast<T>(source);
    }
  }
}

template <typename T>
struct DestinationHits {
  int64_t tokens = 0, topk = 0, destinations = 0;
  const T* experts = nullptr;
  const T* homes = nullptr;
  T* hits = nullptr;
};

template <typename T>
void destination_hits(const DestinationHits<T>& h) {
  for (int64_t t = 0; t < h.tokens; ++t)
    for (int64_t d = 0; d < h.destinations; ++d) {
      bool hit = false;
      for (int64_t k = 0; k < h.topk; ++k) {
        const auto expert = static_cast<int64_t>(h.experts[t * h.topk + k]);
        hit = hit || (expert >= 0 && h.homes[expert * h.destinations + d] != 0);
      }
      h.hits[t * h.destinations + d] = hit ? static_cast<T>(d) : T{-1};
    }
}

template <typename T>
struct ReorderChunks {
  int64_t chunks = 0;
  const T* sizes = nullptr;
  const T* order = nullptr;
  T* from = nullptr;
  T* to = nullptr;
};

template <typename T>
void reorder_chunks(const ReorderChunks<T>& r) {
  int64_t place = 0;
  for (int64_t j = 0; j < r.chunks; ++j) {
    int64_t begin = 0;
    const auto chunk = static_cast<int64_t>(r.order[j]);
    for (int64_t c = 0; c < chunk; ++c) begin += static_cast<int64_t>(r.sizes[c]);
    for (int64_t i = 0; i < static_cast<int64_t>(r.sizes[chunk]); ++i, ++place) {
      r.from[place] = static_cast<T>(begin + i);
      r.to[begin + i] = static_cast<T>(place);
    }
  }
}

}  // namespace conclave::kernels::ref
