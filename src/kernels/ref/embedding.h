// Rows of a table, and their gradient, token by token.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

template <typename T, typename Index>
struct Embedding {
  int64_t batch = 0, length = 0, width = 0;
  const Index* ids = nullptr;
  const T* from = nullptr;  ///< the table, or dy
  T* to = nullptr;          ///< y, or the table's gradient; added to
};

template <typename T, typename Index>
void embedding_forward(const Embedding<T, Index>& e) {
  for (int64_t t = 0; t < e.length * e.batch; ++t) {
    const int64_t id = static_cast<int64_t>(e.ids[t % e.batch * e.length + t / e.batch]);
    for (int64_t h = 0; h < e.width; ++h) e.to[t * e.width + h] += e.from[id * e.width + h];
  }
}

template <typename T, typename Index>
void embedding_backward(const Embedding<T, Index>& e) {
  for (int64_t t = 0; t < e.length * e.batch; ++t) {
    const int64_t id = static_cast<int64_t>(e.ids[t % e.batch * e.length + t / e.batch]);
    for (int64_t h = 0; h < e.width; ++h) e.to[id * e.width + h] += e.from[t * e.width + h];
  }
}

}  // namespace conclave::kernels::ref
