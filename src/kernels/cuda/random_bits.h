// The same random numbers as base/philox.h, on the GPU.
#pragma once

#include <cstdint>

namespace conclave::kernels::cuda {

/// A RandomStream by its numbers.
struct RandomNumbers {
  uint64_t key = 0, ordinal = 0;

  /// 32 random bits of element `index` (RandomStream::bits).
  __device__ uint32_t bits(uint64_t index) const {
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    uint32_t c0 = static_cast<uint32_t>(index >> 2), c1 = static_cast<uint32_t>(index >> 34);
    uint32_t c2 = static_cast<uint32_t>(ordinal), c3 = static_cast<uint32_t>(ordinal >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      const uint32_t n0 = __umulhi(0xCD9E8D57u, c2) ^ c1 ^ k0, n2 = __umulhi(0xD2511F53u, c0) ^ c3 ^ k1;
      c1 = 0xCD9E8D57u * c2;
      c3 = 0xD2511F53u * c0;
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const uint32_t low = (index & 1) != 0 ? c1 : c0, high = (index & 1) != 0 ? c3 : c2;
    return (index & 2) != 0 ? high : low;
  }
  /// Uniform in [0, 1) with 24 bits.
  __device__ float uniform(uint64_t index) const { return static_cast<float>(bits(index) >> 8) * 0x1p-24f; }
};

}  // namespace conclave::kernels::cuda
