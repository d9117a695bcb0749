#include "tensor/tensor.h"

namespace conclave {

Shape::Shape(std::span<const int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
  CONCLAVE_CHECK(sizes.size() <= kMaxRank, "a tensor has at most {} axes, got {}", kMaxRank, sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    CONCLAVE_CHECK(sizes[i] >= 0, "negative size {} on axis {}", sizes[i], i);
    sizes_[i] = sizes[i];
  }
}

int64_t Shape::element_count() const {
  int64_t count = 1;
  for (int i = 0; i < rank_; ++i) count *= sizes_[static_cast<size_t>(i)];
  return count;
}

bool Shape::operator==(const Shape& other) const { return to_vector() == other.to_vector(); }

std::string Shape::to_string() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += fmt::format("{}{}", i > 0 ? ", " : "", (*this)[i]);
  return out + "]";
}

Tensor Tensor::empty(Device& device, const Shape& shape, DType dtype, MemoryTag tag) {
  Tensor tensor;
  tensor.device_ = &device;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.block_ = device.allocator().allocate(shape.element_count() * dtype_size(dtype), tag);
  return tensor;
}

Tensor Tensor::view(const Shape& shape) const {
  CONCLAVE_CHECK(shape.element_count() == element_count(), "{} cannot be viewed as {}", shape_.to_string(),
                 shape.to_string());
  Tensor tensor = *this;
  tensor.shape_ = shape;
  return tensor;
}

Tensor Tensor::as_matrix() const {
  CONCLAVE_CHECK(rank() >= 1, "a scalar is no matrix");
  const int64_t columns = shape_[-1];
  int64_t rows = 1;
  for (int i = 0; i + 1 < rank(); ++i) rows *= shape_[i];
  return view({rows, columns});
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  CONCLAVE_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0], "slice {}..{} of {}", begin, end,
                 shape_.to_string());
  std::vector<int64_t> sizes = shape_.to_vector();
  const int64_t row = shape_[0] == 0 ? 0 : element_count() / shape_[0];
  sizes[0] = end - begin;
  Tensor tensor = *this;
  tensor.offset_ += begin * row * dtype_size(dtype_);
  tensor.shape_ = Shape(sizes);
  return tensor;
}

Tensor Tensor::operator[](int64_t index) const {
  Tensor tensor = slice(index, index + 1);
  const std::vector<int64_t> sizes = shape_.to_vector();
  tensor.shape_ = Shape(std::vector<int64_t>(sizes.begin() + 1, sizes.end()));
  return tensor;
}

Tensor Tensor::flat_slice(int64_t begin, int64_t count) const {
  return view({element_count()}).slice(begin, begin + count);
}

}  // namespace conclave
