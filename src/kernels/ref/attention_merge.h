// Scalar truth of merging attention over two sets of keys.
#pragma once

#include <cmath>
#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
void attention_merge(int64_t sequence, int64_t batch, int64_t heads, int64_t width, T* out, T* lse, const T* part,
                     const T* part_lse) {
  for (int64_t i = 0; i < sequence; ++i) {
    for (int64_t bh = 0; bh < batch * heads; ++bh) {
      const int64_t at = bh * sequence + i;
      const T a = std::exp(lse[at]), b = std::exp(part_lse[at]);
      if (a + b == 0) continue;
      for (int64_t d = 0; d < width; ++d) {
        T& x = out[(i * batch * heads + bh) * width + d];
        x = (a * x + b * part[(i * batch * heads + bh) * width + d]) / (a + b);
      }
      lse[at] = std::log(a + b);
    }
  }
}

}  // namespace conclave::kernels::ref
