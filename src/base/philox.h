// Counter-based random numbers: every value is a function of (key, index), never of who draws it or when.
// Philox4x32-10: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace conclave {

/// One block of four 32-bit words for a 64-bit key and a 128-bit counter.
constexpr std::array<uint32_t, 4> philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

/// A stream of random numbers named by (seed, name, ordinal); element i of it is a pure function.
/// `name` is a tensor or "layer/op" name, `ordinal` the number of the sample in the run (0 where there is none).
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name, uint64_t ordinal = 0);

  /// 32 random bits of element `index`.
  uint32_t bits(uint64_t index) const { return philox4x32(key_, index >> 2, ordinal_)[index & 3]; }
  /// Uniform in [0, 1) with 24 bits.
  float uniform(uint64_t index) const { return static_cast<float>(bits(index) >> 8) * 0x1p-24f; }
  /// Standard normal (Box-Muller on elements 2j and 2j+1 of a stream of its own).
  float normal(uint64_t index) const;

  uint64_t key() const { return key_; }
  uint64_t ordinal() const { return ordinal_; }

 private:
  uint64_t key_;
  uint64_t ordinal_;
};

}  // namespace conclave
