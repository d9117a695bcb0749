// Sixteen f32 lanes as one value, by the compiler's vector extensions: one AVX-512 register, or several smaller ones
// where a machine has no such. Sums over lanes have a fixed order, so results do not depend on the machine's width.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"

namespace conclave::kernels::cpu {

inline constexpr int64_t kLanes = 16;
using VecF = float __attribute__((vector_size(64)));
using VecI = int32_t __attribute__((vector_size(64)));
using VecU = uint32_t __attribute__((vector_size(64)));
using VecH = uint16_t __attribute__((vector_size(32)));
using VecD = double __attribute__((vector_size(64)));  // eight lanes

inline VecF broadcast(float value) { return value - VecF{}; }  // x - 0 keeps the sign of -0
inline VecI lane_index() { return VecI{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

inline VecF load(const float* source) {
  VecF out;
  std::memcpy(&out, source, sizeof out);
  return out;
}
inline VecF load(const BF16* source) {
  VecH bits;
  std::memcpy(&bits, source, sizeof bits);
  return std::bit_cast<VecF>(__builtin_convertvector(bits, VecU) << 16);
}
inline void store(float* target, VecF value) { std::memcpy(target, &value, sizeof value); }
/// Rounds to nearest even; NaN stays NaN: the same bits as to_bf16().
inline void store(BF16* target, VecF value) {
  const VecU bits = std::bit_cast<VecU>(value);
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecU quiet = (bits >> 16) | 0x40u;
  const VecH out = __builtin_convertvector(value == value ? rounded : quiet, VecH);
  std::memcpy(target, &out, sizeof out);
}

/// The first `count` < 16 lanes; the others are zero, and memory beyond them is not touched.
template <typename T>
inline VecF load_first(const T* source, int64_t count) {
  alignas(64) T lanes[kLanes] = {};
  std::memcpy(lanes, source, static_cast<size_t>(count) * sizeof(T));
  return load(lanes);
}
template <typename T>
inline void store_first(T* target, VecF value, int64_t count) {
  alignas(64) T lanes[kLanes];
  store(lanes, value);
  std::memcpy(target, lanes, static_cast<size_t>(count) * sizeof(T));
}

/// Copies a row; faster than a call where rows are short.
inline void copy_row(void* target, const void* source, int64_t bytes) {
  auto* to = static_cast<std::byte*>(target);
  const auto* from = static_cast<const std::byte*>(source);
  int64_t at = 0;
  for (; at + 64 <= bytes; at += 64) {
    VecU piece;
    std::memcpy(&piece, from + at, 64);
    std::memcpy(to + at, &piece, 64);
  }
  if (at < bytes) std::memcpy(to + at, from + at, static_cast<size_t>(bytes - at));
}

/// All lanes, or the first `count` of them.
template <typename T>
inline VecF load_some(const T* source, int64_t count) {
  return count == kLanes ? load(source) : load_first(source, count);
}
template <typename T>
inline void store_some(T* target, VecF value, int64_t count) {
  count == kLanes ? store(target, value) : store_first(target, value, count);
}

/// A lambda that must not stay a call: its captures would live in memory.
#define CONCLAVE_INLINE_LAMBDA __attribute__((always_inline))

/// body(j, count) for each vector of [0, length): count is 16, a constant to the compiler, but for the last one.
template <typename Body>
__attribute__((always_inline)) inline void for_each_vector(int64_t length, Body body) {
  int64_t j = 0;
  for (; j + kLanes <= length; j += kLanes) body(j, kLanes);
  if (j < length) body(j, length - j);
}

/// Larger and smaller of two; a NaN in `a` stays.
inline VecF maximum(VecF a, VecF b) { return a < b ? b : a; }
inline VecF minimum(VecF a, VecF b) { return a > b ? b : a; }
inline VecF select(VecI condition, VecF if_true, VecF if_false) { return condition ? if_true : if_false; }

namespace detail {
using Half = float __attribute__((vector_size(32)));
using Quarter = float __attribute__((vector_size(16)));
inline Half low_half(VecF x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7); }
inline Half high_half(VecF x) { return __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15); }
inline Quarter low_half(Half x) { return __builtin_shufflevector(x, x, 0, 1, 2, 3); }
inline Quarter high_half(Half x) { return __builtin_shufflevector(x, x, 4, 5, 6, 7); }
}  // namespace detail

/// Sum of the lanes: halves are added until one is left.
inline float sum_lanes(VecF x) {
  const detail::Half half = detail::low_half(x) + detail::high_half(x);
  const detail::Quarter quarter = detail::low_half(half) + detail::high_half(half);
  const detail::Quarter pair = quarter + __builtin_shufflevector(quarter, quarter, 2, 3, 0, 1);
  return pair[0] + pair[1];
}
/// Largest lane; NaN lanes may be passed over.
inline float maximum_lane(VecF x) {
  const detail::Half a = detail::low_half(x), b = detail::high_half(x);
  const detail::Half half = a < b ? b : a;
  const detail::Quarter c = detail::low_half(half), d = detail::high_half(half);
  const detail::Quarter quarter = c < d ? d : c;
  const detail::Quarter swapped = __builtin_shufflevector(quarter, quarter, 2, 3, 0, 1);
  const detail::Quarter pair = quarter < swapped ? swapped : quarter;
  return pair[0] < pair[1] ? pair[1] : pair[0];
}

}  // namespace conclave::kernels::cpu
