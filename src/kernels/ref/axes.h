// Two axes exchanged, element by element.
#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
void swap_axes(int64_t a, int64_t b, int64_t w, const T* x, T* y) {
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < w; ++k) y[(j * a + i) * w + k] = x[(i * b + j) * w + k];
}

}  // namespace conclave::kernels::ref
