// Pairs of bf16 numbers in 32-bit words, the even one in the low half: what machines multiply and add two at a time. A
// product over K takes rows 2p and 2p+1 of both factors together.
#pragma once

#include "kernels/cpu/vector.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace conclave::kernels::cpu {

/// Whether products of bf16 are made here rather than by oneDNN: where the machine multiplies pairs but has no matrix
/// registers, which oneDNN knows and which are much faster. The only place that looks at the instruction set.
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
inline constexpr bool kMachineHasPairs = true;
#else
inline constexpr bool kMachineHasPairs = false;
#endif

/// The same of f32: sums need registers of sixteen lanes, thirty-two of them.
#ifdef __AVX512F__
inline constexpr bool kMachineHasWideSums = true;
#else
inline constexpr bool kMachineHasWideSums = false;
#endif

inline VecU broadcast_pair(uint32_t word) { return word - VecU{}; }

/// sum + a.low*b.low + a.high*b.high, in f32.
inline VecF add_pair_products(VecF sum, VecU a, VecU b) {
#ifdef __AVX512BF16__
  return std::bit_cast<VecF>(
      _mm512_dpbf16_ps(std::bit_cast<__m512>(sum), std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(b)));
#else
  const auto low = [](VecU words) { return std::bit_cast<VecF>(words << 16); };
  const auto high = [](VecU words) { return std::bit_cast<VecF>(words & 0xffff0000u); };
  return sum + high(a) * high(b) + low(a) * low(b);
#endif
}

/// Sixteen elements of one row beside sixteen of the next.
inline VecU interleave(VecH even, VecH odd) {
  return __builtin_convertvector(even, VecU) | __builtin_convertvector(odd, VecU) << 16;
}

inline VecH load_bits(const BF16* source) {
  VecH bits;
  std::memcpy(&bits, source, sizeof bits);
  return bits;
}
/// The first `count` <= 16; the others are zero, and memory beyond them is not touched.
inline VecH load_bits(const BF16* source, int64_t count) {
  if (count >= kLanes) return load_bits(source);
  VecH bits{};
  if (count > 0) std::memcpy(&bits, source, static_cast<size_t>(count) * sizeof(BF16));
  return bits;
}

}  // namespace conclave::kernels::cpu
