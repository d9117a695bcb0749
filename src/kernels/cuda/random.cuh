// The random numbers of base/philox.h on the device: the same values from the same key and index.
#pragma once

#include <vector>

#include "base/philox.h"
#include "kernels/cuda/values.cuh"

namespace conclave::kernels::cuda {

struct StreamKey {
  uint64_t key = 0, ordinal = 0;
};
inline StreamKey key_of(const RandomStream& stream) { return {stream.key(), stream.ordinal()}; }

/// The keys of some neighbouring sequences of a micro-batch, as a kernel's argument.
struct SequenceKeys {
  static constexpr int64_t kMost = 64;
  int64_t first = 0, count = 0;
  StreamKey at[kMost];
};
/// All sequences, at most kMost at a time.
inline std::vector<SequenceKeys> sequence_keys(const std::vector<RandomStream>& streams) {
  std::vector<SequenceKeys> out;
  const auto batch = static_cast<int64_t>(streams.size());
  for (int64_t first = 0; first < batch; first += SequenceKeys::kMost) {
    SequenceKeys& keys = out.emplace_back();
    keys.first = first;
    keys.count = std::min(batch - first, SequenceKeys::kMost);
    for (int64_t b = 0; b < keys.count; ++b) keys.at[b] = key_of(streams[static_cast<size_t>(first + b)]);
  }
  return out;
}

__device__ __forceinline__ uint32_t random_bits(StreamKey key, uint64_t index) {
  return philox4x32(key.key, index >> 2, key.ordinal)[index & 3];
}
__device__ __forceinline__ float uniform_of(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

/// Bits of N elements from `first` on, a multiple of 4.
template <int N>
__device__ __forceinline__ void random_bits(StreamKey key, uint64_t first, uint32_t (&bits)[N]) {
  if constexpr (N % 4 == 0) {
    for (int i = 0; i < N / 4; ++i) {
      const auto block = philox4x32(key.key, (first >> 2) + i, key.ordinal);
      for (int j = 0; j < 4; ++j) bits[4 * i + j] = block[j];
    }
  } else {
    for (int i = 0; i < N; ++i) bits[i] = random_bits(key, first + i);
  }
}

__device__ __forceinline__ float normal_of(StreamKey key, uint64_t index) {
  const auto block = philox4x32(key.key, index >> 2, key.ordinal | (uint64_t{1} << 63));
  const bool second = (index & 2) != 0, sine = (index & 1) != 0;
  const double u = (static_cast<double>(second ? block[2] : block[0]) + 0.5) * 0x1p-32;
  const double v = static_cast<double>(second ? block[3] : block[1]) * 0x1p-32;
  const double radius = sqrt(-2.0 * log(u));
  const double angle = 6.283185307179586477 * v;
  return static_cast<float>(radius * (sine ? sin(angle) : cos(angle)));
}

}  // namespace conclave::kernels::cuda
