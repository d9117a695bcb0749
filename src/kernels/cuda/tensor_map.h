// Tensor maps: how the copy engine of Hopper finds tiles in memory.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <initializer_list>
#include <span>

namespace conclave::kernels::cuda {

enum class TileType { kBF16, kF32 };

/// A dense array (sizes innermost first) read or written in boxes; 128-byte swizzle, zeros outside. The innermost box
/// is 128 bytes; rows of the array are multiples of 16 bytes.
CUtensorMap tensor_map(TileType type, const void* data, std::span<const int64_t> sizes, std::initializer_list<int> box);

}  // namespace conclave::kernels::cuda
