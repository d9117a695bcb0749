// A dense row-major tensor: dtype, shape, and a share in a block of device memory. Views share the block.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "device/device.h"

namespace conclave {

/// Up to six sizes, outermost first.
class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(std::span<const int64_t>(sizes.begin(), sizes.size())) {}
  explicit Shape(const std::vector<int64_t>& sizes) : Shape(std::span<const int64_t>(sizes)) {}
  explicit Shape(std::span<const int64_t> sizes);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return sizes_[static_cast<size_t>(axis < 0 ? axis + rank_ : axis)]; }
  int64_t element_count() const;
  std::vector<int64_t> to_vector() const { return {sizes_.begin(), sizes_.begin() + rank_}; }
  bool operator==(const Shape& other) const;
  std::string to_string() const;  ///< "[2, 3]"

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised memory on `device`.
  static Tensor empty(Device& device, const Shape& shape, DType dtype, MemoryTag tag);

  bool defined() const { return block_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return shape_; }
  int64_t size(int axis) const { return shape_[axis]; }
  int rank() const { return shape_.rank(); }
  DType dtype() const { return dtype_; }
  int64_t element_count() const { return shape_.element_count(); }
  int64_t bytes() const { return element_count() * dtype_size(dtype_); }
  Device& device() const { return *device_; }

  /// Typed pointer to the first element; null on `sim`. Throws InternalError on another dtype.
  template <typename T>
  T* data() const {
    CONCLAVE_CHECK(dtype_ == DTypeOf<T>::value, "tensor of {} read as {}", dtype_name(dtype_),
                   dtype_name(DTypeOf<T>::value));
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const { return block_ == nullptr || block_->data() == nullptr ? nullptr : block_->data() + offset_; }

  /// Same elements, another shape.
  Tensor view(const Shape& shape) const;
  /// All but the last axis flattened: [..., N] -> [rows, N].
  Tensor as_matrix() const;
  /// Entries [begin, end) of the outermost axis; shares memory.
  Tensor slice(int64_t begin, int64_t end) const;
  /// Entry `index` of the outermost axis, without that axis.
  Tensor operator[](int64_t index) const;
  /// `count` elements from element `begin` on, as a vector [count].
  Tensor flat_slice(int64_t begin, int64_t count) const;

 private:
  std::shared_ptr<MemoryBlock> block_;
  Device* device_ = nullptr;
  int64_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::kF32;
};

/// Host copies; sizes must agree. On `sim` to_host returns zeros.
template <typename T>
std::vector<T> to_host(const Stream& stream, const Tensor& tensor) {
  CONCLAVE_CHECK(tensor.dtype() == DTypeOf<T>::value, "tensor of {} read as {}", dtype_name(tensor.dtype()),
                 dtype_name(DTypeOf<T>::value));
  std::vector<T> values(static_cast<size_t>(tensor.element_count()));
  tensor.device().copy_to_host(stream, values.data(), tensor.raw(), tensor.bytes());
  return values;
}
template <typename T>
void copy_from_host(const Stream& stream, const Tensor& tensor, std::span<const T> values) {
  CONCLAVE_CHECK(tensor.dtype() == DTypeOf<T>::value, "tensor of {} written as {}", dtype_name(tensor.dtype()),
                 dtype_name(DTypeOf<T>::value));
  CONCLAVE_CHECK_EQ(static_cast<int64_t>(values.size()), tensor.element_count(), "host copy of another size");
  tensor.device().copy_from_host(stream, tensor.raw(), values.data(), tensor.bytes());
}
template <typename T>
Tensor from_host(Device& device, const Shape& shape, std::span<const T> values, MemoryTag tag) {
  Tensor tensor = Tensor::empty(device, shape, DTypeOf<T>::value, tag);
  copy_from_host<T>(device.default_stream(), tensor, values);
  return tensor;
}

}  // namespace conclave
