// Runs of random bits: the same values as RandomStream::bits(), many blocks at once.
#pragma once

#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {

using VecL = uint64_t __attribute__((vector_size(64)));  // eight lanes

/// Words of blocks [block, block + 8) under a key: 32 of them.
inline void random_block_words(uint64_t key, uint64_t block, uint64_t counter_high, uint32_t* out) {
  constexpr uint64_t kLow = 0xffffffffu;
  const VecL counter = block + VecL{0, 1, 2, 3, 4, 5, 6, 7};
  VecL c0 = counter & kLow, c1 = counter >> 32;
  VecL c2 = VecL{} + (counter_high & kLow), c3 = VecL{} + (counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const VecL p0 = c0 * uint64_t{0xD2511F53u}, p1 = c2 * uint64_t{0xCD9E8D57u};
    c0 = (p1 >> 32) ^ c1 ^ uint64_t { k0 };
    c2 = (p0 >> 32) ^ c3 ^ uint64_t { k1 };
    c1 = p1 & kLow;
    c3 = p0 & kLow;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const VecL first = c0 | (c1 << 32), second = c2 | (c3 << 32);
  const VecL low = __builtin_shufflevector(first, second, 0, 8, 1, 9, 2, 10, 3, 11);
  const VecL high = __builtin_shufflevector(first, second, 4, 12, 5, 13, 6, 14, 7, 15);
  std::memcpy(out, &low, sizeof low);
  std::memcpy(out + 16, &high, sizeof high);
}

/// out[i] = stream.bits(first + i) for i in [0, count).
inline void random_bits(const RandomStream& stream, uint64_t first, int64_t count, uint32_t* out) {
  uint64_t block = first >> 2;
  int64_t skip = static_cast<int64_t>(first & 3), done = 0;
  for (; done < count; block += 8) {
    if (skip == 0 && count - done >= 32) {
      random_block_words(stream.key(), block, stream.ordinal(), out + done);
      done += 32;
      continue;
    }
    uint32_t words[32];
    random_block_words(stream.key(), block, stream.ordinal(), words);
    const int64_t taken = std::min(count - done, 32 - skip);
    std::memcpy(out + done, words + skip, static_cast<size_t>(taken) * sizeof(uint32_t));
    done += taken;
    skip = 0;
  }
}

/// out[i] = stream.uniform(first + i), the same bits.
void uniform_run(const RandomStream& stream, uint64_t first, int64_t count, float* out);

/// out[i] = stream.normal(first + i) within one unit in the last place, and a function of the index alone: how a range
/// is cut into runs changes no bit.
void normal_run(const RandomStream& stream, uint64_t first, int64_t count, float* out);

/// Elements keep where bits >= this: exactly where uniform >= rate.
inline uint32_t keep_threshold(float rate) {
  return static_cast<uint32_t>(std::ceil(static_cast<double>(rate) * 0x1p24)) << 8;
}

}  // namespace conclave::kernels::cpu
