#include "checkpoint/difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "base/error.h"
#include "checkpoint/box_overlap.h"

namespace conclave {
namespace {

constexpr int64_t kPartElements = int64_t{1} << 20;

template <typename T>
double number_at(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof(T));
  return static_cast<double>(value);
}

// The element as a number. 8-bit floats give their bits.
double element(DType dtype, const std::byte* place) {
  switch (dtype) {
    case DType::kF64:
      return number_at<double>(place);
    case DType::kF32:
      return number_at<float>(place);
    case DType::kF16: {
      F16 value;
      std::memcpy(&value, place, sizeof(value));
      return to_float(value);
    }
    case DType::kBF16: {
      BF16 value;
      std::memcpy(&value, place, sizeof(value));
      return to_float(value);
    }
    case DType::kI64:
      return number_at<int64_t>(place);
    case DType::kI32:
      return number_at<int32_t>(place);
    case DType::kI16:
      return number_at<int16_t>(place);
    case DType::kI8:
      return number_at<int8_t>(place);
    case DType::kU64:
      return number_at<uint64_t>(place);
    case DType::kU32:
      return number_at<uint32_t>(place);
    case DType::kU16:
      return number_at<uint16_t>(place);
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kU8:
    case DType::kBool:
      return number_at<uint8_t>(place);
  }
  CONCLAVE_CHECK(false, "element type {} is not known", static_cast<int>(dtype));
  return 0;
}

std::vector<int64_t> index_of(int64_t flat, const std::vector<int64_t>& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return index;
}

void add_element(double a, double b, TensorDifference& out) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double absolute = std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : kInfinity;
  const double scale = std::max(std::fabs(a), std::fabs(b));
  const double relative = absolute == 0 ? 0 : std::isfinite(absolute) ? absolute / scale : kInfinity;
  out.max_absolute = std::max(out.max_absolute, absolute);
  out.max_relative = std::max(out.max_relative, relative);
}

// Compares elements [begin, begin + count) of the row-major order.
void compare_part(DType dtype, std::span<const std::byte> a, std::span<const std::byte> b, int64_t begin,
                  const std::vector<int64_t>& shape, TensorDifference& out) {
  if (std::memcmp(a.data(), b.data(), a.size()) == 0) return;
  const auto width = static_cast<size_t>(dtype_size(dtype));
  for (size_t place = 0; place < a.size(); place += width) {
    if (std::memcmp(a.data() + place, b.data() + place, width) == 0) continue;
    const double value_a = element(dtype, a.data() + place), value_b = element(dtype, b.data() + place);
    if (out.differing_elements++ == 0) {
      out.first_index = index_of(begin + static_cast<int64_t>(place / width), shape);
      out.first_a = value_a;
      out.first_b = value_b;
    }
    add_element(value_a, value_b, out);
  }
  out.kind = TensorDifference::Kind::kValues;
}

TensorDifference compare_values(const CheckpointReader& a, const CheckpointReader& b, const StoredTensor& tensor) {
  TensorDifference out;
  out.name = tensor.name;
  const Box whole = ShardSpec::whole(tensor.shape).boxes[0];
  std::vector<std::byte> part_a, part_b;
  for (int64_t begin = 0, total = tensor.element_count(); begin < total; begin += kPartElements) {
    const int64_t count = std::min(kPartElements, total - begin);
    const ShardSpec part{tensor.shape, boxes_of_flat_range(whole, begin, count)};
    part_a.resize(static_cast<size_t>(count * dtype_size(tensor.dtype)));
    part_b.resize(part_a.size());
    a.read(tensor.name, part, part_a);
    b.read(tensor.name, part, part_b);
    compare_part(tensor.dtype, part_a, part_b, begin, tensor.shape, out);
  }
  return out;
}

std::string shape_text(const StoredTensor& tensor) {
  std::string out = "[";
  for (size_t i = 0; i < tensor.shape.size(); ++i) out += fmt::format("{}{}", i > 0 ? ", " : "", tensor.shape[i]);
  return out + "]";
}

TensorDifference compare_one(const CheckpointReader& a, const CheckpointReader& b, const StoredTensor& tensor,
                             const StoredTensor& other) {
  using Kind = TensorDifference::Kind;
  TensorDifference out;
  out.name = tensor.name;
  if (tensor.shape != other.shape) {
    out.kind = Kind::kShape;
    out.a = shape_text(tensor);
    out.b = shape_text(other);
    return out;
  }
  if (tensor.dtype != other.dtype) {
    out.kind = Kind::kDType;
    out.a = dtype_name(tensor.dtype);
    out.b = dtype_name(other.dtype);
    return out;
  }
  return compare_values(a, b, tensor);
}

}  // namespace

std::vector<TensorDifference> compare_checkpoints(const CheckpointReader& a, const CheckpointReader& b) {
  using Kind = TensorDifference::Kind;
  std::vector<TensorDifference> out;
  const auto only_in = [&](Kind kind, const std::string& name) {
    out.emplace_back();
    out.back().name = name;
    out.back().kind = kind;
  };
  auto left = a.tensors().begin(), right = b.tensors().begin();
  while (left != a.tensors().end() || right != b.tensors().end()) {
    const bool has_left = left != a.tensors().end(), has_right = right != b.tensors().end();
    if (has_left && (!has_right || left->name < right->name)) {
      only_in(Kind::kOnlyInA, (left++)->name);
    } else if (has_right && (!has_left || right->name < left->name)) {
      only_in(Kind::kOnlyInB, (right++)->name);
    } else {
      out.push_back(compare_one(a, b, *left++, *right++));
    }
  }
  return out;
}

}  // namespace conclave
