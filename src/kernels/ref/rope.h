// Rotary position embedding, pair by pair.
#pragma once

#include <cmath>
#include <cstdint>

namespace conclave::kernels::ref {

template <typename T>
struct Rope {
  int64_t batch = 0, heads = 0, length = 0, head_size = 0, pairs = 0;
  T* x = nullptr;
  const int32_t* positions = nullptr;
  const float* frequencies = nullptr;
  bool interleaved = false;
  bool inverse = false;
  T scale = 1;
};

template <typename T>
void rope(const Rope<T>& r) {
  for (int64_t row = 0; row < r.batch * r.heads * r.length; ++row) {
    const int64_t b = row / (r.heads * r.length), s = row % r.length;
    T* x = r.x + row * r.head_size;
    for (int64_t i = 0; i < r.pairs; ++i) {
      const T angle = static_cast<T>(static_cast<float>(r.positions[b * r.length + s]) * r.frequencies[i]);
      const T cosine = std::cos(angle) * r.scale, sine = std::sin(angle) * r.scale * (r.inverse ? -1 : 1);
      T& first = r.interleaved ? x[2 * i] : x[i];
      T& second = r.interleaved ? x[2 * i + 1] : x[i + r.pairs];
      const T old_first = first, old_second = second;
      first = old_first * cosine - old_second * sine;
      second = old_second * cosine + old_first * sine;
    }
  }
}

}  // namespace conclave::kernels::ref
