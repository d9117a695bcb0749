// Dropout, one element at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "base/philox.h"

namespace conclave::kernels::ref {

template <typename T>
struct DropoutAdd {
  int64_t length = 0, batch = 0, width = 0, sequence_offset = 0;
  const T* x = nullptr;
  const T* residual = nullptr;  ///< optional
  T* out = nullptr;
  float rate = 0;
  const std::vector<RandomStream>* streams = nullptr;
};

template <typename T>
void dropout_add(const DropoutAdd<T>& a) {
  for (int64_t s = 0; s < a.length; ++s) {
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t h = 0; h < a.width; ++h) {
        const int64_t i = (s * a.batch + b) * a.width + h;
        const uint64_t element = static_cast<uint64_t>((s + a.sequence_offset) * a.width + h);
        const bool keep = a.rate == 0 || (*a.streams)[static_cast<size_t>(b)].uniform(element) >= a.rate;
        const T kept = keep ? a.x[i] / (1 - static_cast<T>(a.rate)) : T{0};
        a.out[i] = (a.residual != nullptr ? a.residual[i] : T{0}) + kept;
      }
    }
  }
}

}  // namespace conclave::kernels::ref
