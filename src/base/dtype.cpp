#include "base/dtype.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace conclave {
namespace {

struct DTypeInfo {
  DType dtype;
  int64_t size;
  std::string_view name;
  std::string_view safetensors_name;
};

// In enum order.
constexpr std::array<DTypeInfo, 15> kInfos = {{{DType::kF64, 8, "f64", "F64"},
                                               {DType::kF32, 4, "f32", "F32"},
                                               {DType::kF16, 2, "f16", "F16"},
                                               {DType::kBF16, 2, "bf16", "BF16"},
                                               {DType::kF8E4M3, 1, "f8e4m3", "F8_E4M3"},
                                               {DType::kF8E5M2, 1, "f8e5m2", "F8_E5M2"},
                                               {DType::kI64, 8, "i64", "I64"},
                                               {DType::kI32, 4, "i32", "I32"},
                                               {DType::kI16, 2, "i16", "I16"},
                                               {DType::kI8, 1, "i8", "I8"},
                                               {DType::kU64, 8, "u64", "U64"},
                                               {DType::kU32, 4, "u32", "U32"},
                                               {DType::kU16, 2, "u16", "U16"},
                                               {DType::kU8, 1, "u8", "U8"},
                                               {DType::kBool, 1, "bool", "BOOL"}}};

const DTypeInfo& info(DType dtype) { return kInfos.at(static_cast<size_t>(dtype)); }

}  // namespace

int64_t dtype_size(DType dtype) { return info(dtype).size; }
std::string_view dtype_name(DType dtype) { return info(dtype).name; }
std::string_view dtype_safetensors_name(DType dtype) { return info(dtype).safetensors_name; }

DType dtype_from_name(std::string_view name) {
  for (const DTypeInfo& entry : kInfos) {
    if (entry.name == name || entry.safetensors_name == name) return entry.dtype;
  }
  throw_user(fmt::format(
      "unknown element type '{}'; known: f64 f32 f16 bf16 f8e4m3 f8e5m2 i64 i32 i16 i8 u64 u32 u16 u8 bool", name));
}

bool is_floating(DType dtype) { return dtype <= DType::kF8E5M2; }

float to_float(F16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  return sign != 0 ? -magnitude : magnitude;
}

float f8e4m3_to_float(uint8_t bits) {
  const int exponent = (bits >> 3) & 0xf, mantissa = bits & 7;
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  if (exponent == 0xf && mantissa == 7) return std::copysign(std::numeric_limits<float>::quiet_NaN(), sign);
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

// Its bits are the upper half of a f16.
float f8e5m2_to_float(uint8_t bits) { return to_float(F16{static_cast<uint16_t>(bits << 8)}); }

F16 to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // subnormal half: scale so that the f32 rounding does the work
    const float scaled = std::fabs(value) * 16777216.0f;
    return {static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  if (rounded >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace conclave
