#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

/// cache [G,capacity,D], x [G,S,D], G = B*g.
template <typename T>
void append_to_cache(const T* x, T* cache, int64_t groups, int64_t rows, int64_t capacity, int64_t width,
                     int64_t position) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < rows * width; ++i) cache[(g * capacity + position) * width + i] = x[g * rows * width + i];
  }
}

}  // namespace conclave::kernels::ref
