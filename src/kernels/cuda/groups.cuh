// Rows in groups: which group a row is of, by offsets that stand on the device.
#pragma once

#include <cstdint>

namespace conclave::kernels::cuda {

/// Group of `row`: offsets[g] <= row < offsets[g + 1]; -1 before the first and beyond the last. Empty groups are
/// passed.
__device__ __forceinline__ int64_t expert_of_row(const int64_t* offsets, int64_t groups, int64_t row) {
  if (row < offsets[0] || row >= offsets[groups]) return -1;
  int64_t low = 0, high = groups;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (offsets[middle] <= row ? low : high) = middle;
  }
  return low;
}

}  // namespace conclave::kernels::cuda
