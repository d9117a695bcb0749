// Element types and the 16-bit floats.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace conclave {

enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool
};

/// Bytes of one element.
int64_t dtype_size(DType dtype);
/// Our short name, e.g. "bf16".
std::string_view dtype_name(DType dtype);
/// Name in a safetensors header, e.g. "BF16".
std::string_view dtype_safetensors_name(DType dtype);
/// Inverse of both names; throws UserError on an unknown one.
DType dtype_from_name(std::string_view name);
bool is_floating(DType dtype);

/// bfloat16, stored; arithmetic is done in f32.
struct BF16 {
  uint16_t bits;
};
/// IEEE half, stored.
struct F16 {
  uint16_t bits;
};

inline float to_float(BF16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
inline float to_float(float value) { return value; }
inline double to_float(double value) { return value; }
float to_float(F16 value);
/// The value of an 8-bit float (OCP FP8, 2023): e4m3 has no infinity, its largest patterns are NaN.
float f8e4m3_to_float(uint8_t bits);
float f8e5m2_to_float(uint8_t bits);

/// Round to nearest even; NaN stays NaN.
inline BF16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
F16 to_f16(float value);

/// C++ type <-> DType.
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<F16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<BF16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<int16_t> {
  static constexpr DType value = DType::kI16;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::kI8;
};
template <>
struct DTypeOf<uint64_t> {
  static constexpr DType value = DType::kU64;
};
template <>
struct DTypeOf<uint32_t> {
  static constexpr DType value = DType::kU32;
};
template <>
struct DTypeOf<uint16_t> {
  static constexpr DType value = DType::kU16;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};

}  // namespace conclave
