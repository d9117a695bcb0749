#include "proof/golden/tensors.h"

#include <fmt/core.h>

#include "proof/golden/case_files.h"
#include "proof/golden/compare.h"

namespace conclave::proof {
namespace {

template <typename T>
std::vector<double> widened(const SafetensorsEntry& entry) {
  std::vector<double> out;
  for (const T value : entry.to_vector<T>()) {
    if constexpr (std::is_same_v<T, BF16>) {
      out.push_back(to_float(value));
    } else {
      out.push_back(static_cast<double>(value));
    }
  }
  return out;
}

}  // namespace

Tensor to_device(Device& device, const SafetensorsEntry& entry) {
  const Tensor tensor =
      Tensor::empty(device, Shape(entry.shape), entry.dtype, {MemoryCategory::kActivations, "golden"});
  device.copy_from_host(device.default_stream(), tensor.raw(), entry.bytes.data(), tensor.bytes());
  return tensor;
}

std::vector<double> values_of(const SafetensorsEntry& entry) {
  switch (entry.dtype) {
    case DType::kF64:
      return widened<double>(entry);
    case DType::kF32:
      return widened<float>(entry);
    case DType::kBF16:
      return widened<BF16>(entry);
    case DType::kI64:
      return widened<int64_t>(entry);
    case DType::kI32:
      return widened<int32_t>(entry);
    case DType::kU8:
      return widened<uint8_t>(entry);
    default:
      throw NotBuilt(fmt::format("dtype {} ('{}')", dtype_name(entry.dtype), entry.name));
  }
}

void expect_close(const std::string& name, const std::vector<double>& got, const SafetensorsEntry& wanted,
                  double relative) {
  const std::string text =
      off_by(name, values_of(wanted), got, {.relative = relative, .zero_up_to = 1e-6, .shape = wanted.shape});
  if (!text.empty()) throw Mismatch(text);
}

}  // namespace conclave::proof
