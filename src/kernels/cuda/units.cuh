// Rows of bytes moved in the widest units that their sizes and addresses allow.
#pragma once

#include "kernels/cuda/values.cuh"

namespace conclave::kernels::cuda {

/// Largest of 16, 8, 4, 2, 1 that divides every number given and the address of every tensor given (absent: any).
class UnitBytes {
 public:
  UnitBytes& divides(int64_t bytes) {
    bits_ |= static_cast<uint64_t>(bytes);
    return *this;
  }
  UnitBytes& holds(const Tensor& tensor) {
    if (tensor.defined()) bits_ |= reinterpret_cast<uintptr_t>(tensor.raw());
    return *this;
  }
  int64_t get() const { return static_cast<int64_t>((bits_ | 16) & (~(bits_ | 16) + 1)); }

 private:
  uint64_t bits_ = 0;
};

/// Which way units go between a whole and its parts.
enum class Way { kSplit, kJoin };
template <Way way, typename Unit>
__device__ __forceinline__ void move_unit(Unit& whole, Unit& part) {
  if constexpr (way == Way::kSplit) {
    part = whole;
  } else {
    whole = part;
  }
}

/// Calls body(Unit{}) for the type of that size.
template <typename Body>
void with_unit(int64_t bytes, Body body) {
  switch (bytes) {
    case 16:
      return body(uint4{});
    case 8:
      return body(uint2{});
    case 4:
      return body(uint32_t{});
    case 2:
      return body(uint16_t{});
    default:
      return body(uint8_t{});
  }
}

template <typename Unit>
Unit* units(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<Unit*>(tensor.raw()) : nullptr;
}

}  // namespace conclave::kernels::cuda
