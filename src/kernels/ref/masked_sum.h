#pragma once

#include <cstdint>

namespace conclave::kernels::ref {

/// out[0] += sum of values where the mask counts, out[1] += sum of the mask. A value under a zero mask takes no part,
/// NaN included.
template <typename T>
void masked_sum(const T* values, const T* mask, int64_t count, double* out) {
  for (int64_t t = 0; t < count; ++t) {
    if (mask[t] == T(0)) continue;
    out[0] += static_cast<double>(values[t]) * static_cast<double>(mask[t]);
    out[1] += static_cast<double>(mask[t]);
  }
}

}  // namespace conclave::kernels::ref
