#include "kernels/cpu/vector_random.h"

namespace conclave::kernels::cpu {
namespace {

using VecS = int64_t __attribute__((vector_size(64)));  // eight signed lanes

/// Natural logarithm of numbers in [2^-33, 1]: exponent, and the series of 2 atanh((m-1)/(m+1)) for the rest.
inline VecD log_of(VecD x) {
  // Moves the mantissa's range to [sqrt(1/2), sqrt(2)), so that numbers near one keep their digits.
  const VecL bits = std::bit_cast<VecL>(x) - 0x3fe6a09e667f3bcdu;
  const VecD exponent = __builtin_convertvector(std::bit_cast<VecS>(bits) >> 52, VecD);
  const VecD m = std::bit_cast<VecD>((bits & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
  const VecD s = (m - 1.0) / (m + 1.0);
  const VecD z = s * s;
  VecD p = z * (1.0 / 15) + 1.0 / 13;
  for (const double term : {1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0}) p = p * z + term;
  return exponent * 0.69314718055994530942 + 2.0 * s * p;
}

struct SineCosine {
  VecD sine, cosine;
};

/// Of 2π v, v in [0, 1): the quarter turn nearest, and Taylor series within π/4 of it.
inline SineCosine turn(VecD v) {
  const VecD shifted = v * 4.0 + 0x1.8p52;  // rounds to the nearest whole number and leaves it in the low bits
  const VecL quarter = std::bit_cast<VecL>(shifted) & 3u;
  const VecD angle = (v * 4.0 - (shifted - 0x1.8p52)) * 1.57079632679489661923;
  const VecD z = angle * angle;
  VecD sine = z * (1.0 / 6227020800) - 1.0 / 39916800;
  for (const double term : {1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0}) sine = sine * z + term;
  sine *= angle;
  VecD cosine = z * (-1.0 / 87178291200) + 1.0 / 479001600;
  for (const double term : {-1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0}) cosine = cosine * z + term;
  const auto swapped = (quarter & 1u) != 0;
  const VecD a = swapped ? cosine : sine, b = swapped ? sine : cosine;
  return {(quarter & 2u) != 0 ? -a : a, ((quarter + 1) & 2u) != 0 ? -b : b};
}

/// Box-Muller on elements [32 group, 32 group + 32) of a stream: each pair of words gives two normals.
void normal_group(const RandomStream& stream, uint64_t group, float* out) {
  using EightFloats = float __attribute__((vector_size(32)));
  uint32_t words[32];
  random_block_words(stream.key(), group * 8, stream.ordinal() | (uint64_t{1} << 63), words);
  for (int64_t i = 0; i < 32; i += kLanes) {
    VecL pairs;
    std::memcpy(&pairs, words + i, sizeof pairs);
    const VecD u = (__builtin_convertvector(pairs & 0xffffffffu, VecD) + 0.5) * 0x1p-32;
    const VecD v = __builtin_convertvector(pairs >> 32, VecD) * 0x1p-32;
    const VecD square = -2.0 * log_of(u);
    VecD radius;
    for (int j = 0; j < 8; ++j) radius[j] = std::sqrt(square[j]);
    const SineCosine at = turn(v);
    const EightFloats first = __builtin_convertvector(radius * at.cosine, EightFloats);
    const EightFloats second = __builtin_convertvector(radius * at.sine, EightFloats);
    store(out + i, __builtin_shufflevector(first, second, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
  }
}

}  // namespace

void uniform_run(const RandomStream& stream, uint64_t first, int64_t count, float* out) {
  constexpr int64_t kPart = 256;
  uint32_t bits[kPart];
  for (int64_t done = 0; done < count; done += kPart) {
    const int64_t part = std::min(kPart, count - done);
    random_bits(stream, first + static_cast<uint64_t>(done), part, bits);
#pragma omp simd
    for (int64_t i = 0; i < part; ++i)
      out[done + i] = static_cast<float>(static_cast<int32_t>(bits[i] >> 8)) * 0x1p-24f;
  }
}

// Whole groups go straight out, the parts at both ends through a buffer: always the same arithmetic.
void normal_run(const RandomStream& stream, uint64_t first, int64_t count, float* out) {
  constexpr int64_t kGroup = 32;
  float buffer[kGroup];
  for (int64_t done = 0; done < count;) {
    const uint64_t at = first + static_cast<uint64_t>(done);
    const int64_t skip = static_cast<int64_t>(at % kGroup), taken = std::min(kGroup - skip, count - done);
    float* target = taken == kGroup ? out + done : buffer;
    normal_group(stream, at / kGroup, target);
    if (target == buffer) std::memcpy(out + done, buffer + skip, static_cast<size_t>(taken) * sizeof(float));
    done += taken;
  }
}

}  // namespace conclave::kernels::cpu
