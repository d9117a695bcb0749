#include "proof/golden/tensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "proof/golden/case_files.h"

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

std::string coordinate(const std::vector<int64_t>& shape, int64_t flat) {
  std::string out;
  for (size_t axis = shape.size(); axis-- > 0;) {
    out = fmt::format("{}{}{}", flat % shape[axis], out.empty() ? "" : ", ", out);
    flat /= shape[axis];
  }
  return shape.empty() ? "" : "[" + out + "]";
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

void expect_close(const std::string& name, const std::vector<double>& got, const SafetensorsEntry& entry,
                  double relative) {
  const std::vector<double> wanted = values_of(entry);
  if (got.size() != wanted.size())
    throw Mismatch(fmt::format("{} has {} elements, must have {}", name, got.size(), wanted.size()));
  double largest = 0;
  for (const double value : wanted) largest = std::max(largest, std::fabs(value));
  const double limit = largest < 1e-6 ? 1e-6 : relative * largest;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::fabs(got[i] - wanted[i]) <= limit) continue;
    throw Mismatch(fmt::format("{}{} is {:.9g}, must be {:.9g}: off by {:.3g}, tolerance {:.3g}", name,
                               coordinate(entry.shape, static_cast<int64_t>(i)), got[i], wanted[i], got[i] - wanted[i],
                               limit));
  }
}

}  // namespace conclave::proof
