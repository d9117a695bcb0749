#include "convert/elements.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace conclave {
namespace {

template <typename T>
T load_at(std::span<const std::byte> source, size_t index) {
  T value;
  std::memcpy(&value, source.data() + index * sizeof(T), sizeof(T));
  return value;
}

// read(index) -> double for every dtype that is read.
template <typename Use>
void with_reader(DType dtype, std::span<const std::byte> source, Use use) {
  switch (dtype) {
    case DType::kF64:
      return use([source](size_t i) { return load_at<double>(source, i); });
    case DType::kF32:
      return use([source](size_t i) { return load_at<float>(source, i); });
    case DType::kBF16:
      return use([source](size_t i) { return to_float(load_at<BF16>(source, i)); });
    case DType::kF16:
      return use([source](size_t i) { return to_float(load_at<F16>(source, i)); });
    case DType::kF8E4M3:
      return use([source](size_t i) { return f8e4m3_to_float(load_at<uint8_t>(source, i)); });
    case DType::kF8E5M2:
      return use([source](size_t i) { return f8e5m2_to_float(load_at<uint8_t>(source, i)); });
    default:
      CONCLAVE_CHECK(false, "elements of {} are no numbers of a model", dtype_name(dtype));
  }
}

template <typename T, typename Read, typename Make>
void write_all(Read read, std::span<std::byte> target, Make make) {
  for (size_t i = 0; i < target.size() / sizeof(T); ++i) {
    const T value = make(read(i));
    std::memcpy(target.data() + i * sizeof(T), &value, sizeof(T));
  }
}

}  // namespace

void convert_elements(DType from, std::span<const std::byte> source, DType to, std::span<std::byte> target) {
  CONCLAVE_CHECK_EQ(source.size() / static_cast<size_t>(dtype_size(from)),
                    target.size() / static_cast<size_t>(dtype_size(to)), "elements of a conversion");
  if (from == to) {
    if (!source.empty()) std::memcpy(target.data(), source.data(), source.size());
    return;
  }
  with_reader(from, source, [to, target](auto read) {
    switch (to) {
      case DType::kF64:
        return write_all<double>(read, target, [](auto value) { return static_cast<double>(value); });
      case DType::kF32:
        return write_all<float>(read, target, [](auto value) { return static_cast<float>(value); });
      case DType::kBF16:
        return write_all<BF16>(read, target, [](auto value) { return to_bf16(static_cast<float>(value)); });
      case DType::kF16:
        return write_all<F16>(read, target, [](auto value) { return to_f16(static_cast<float>(value)); });
      default:
        CONCLAVE_CHECK(false, "elements of {} are not written", dtype_name(to));
    }
  });
}

namespace {

// Exponents of ones alone: infinity or NaN.
template <typename Bits>
int64_t count_full_exponents(std::span<const std::byte> elements, Bits mask) {
  constexpr size_t kBlock = 4096;
  Bits block[kBlock];
  int64_t count = 0;
  for (size_t at = 0; at < elements.size(); at += sizeof block) {
    const size_t bytes = std::min(sizeof block, elements.size() - at);
    std::memcpy(block, elements.data() + at, bytes);
    int32_t found = 0;
    for (size_t i = 0; i < bytes / sizeof(Bits); ++i) found += (block[i] & mask) == mask ? 1 : 0;
    count += found;
  }
  return count;
}

}  // namespace

int64_t count_non_finite(DType dtype, std::span<const std::byte> elements) {
  switch (dtype) {
    case DType::kF32:
      return count_full_exponents<uint32_t>(elements, 0x7f800000u);
    case DType::kBF16:
      return count_full_exponents<uint16_t>(elements, 0x7f80u);
    case DType::kF16:
      return count_full_exponents<uint16_t>(elements, 0x7c00u);
    case DType::kF64:
      return count_full_exponents<uint64_t>(elements, 0x7ff0000000000000u);
    default:
      break;
  }
  int64_t count = 0;
  const auto size = static_cast<size_t>(dtype_size(dtype));
  with_reader(dtype, elements, [&](auto read) {
    for (size_t i = 0; i < elements.size() / size; ++i) count += std::isfinite(read(i)) ? 0 : 1;
  });
  return count;
}

}  // namespace conclave
