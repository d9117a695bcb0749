#include "kernels/cuda/tensor_map.h"

#include <cuda_runtime_api.h>

#include <array>

#include "base/error.h"
#include "device/cuda/cuda_check.h"

namespace conclave::kernels::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

/// From the driver by name, so that the program also starts where there is none.
Encode encode_function() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  CONCLAVE_CUDA(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result));
  CONCLAVE_CHECK(result == cudaDriverEntryPointSuccess && found != nullptr,
                 "[kernels/cuda] the driver has no cuTensorMapEncodeTiled (CUDA 12 or newer is needed)");
  return reinterpret_cast<Encode>(found);
}

}  // namespace

CUtensorMap tensor_map(TileType type, const void* data, std::span<const int64_t> sizes,
                       std::initializer_list<int> box) {
  static const Encode encode = encode_function();
  constexpr size_t kMost = 3;
  CONCLAVE_CHECK(sizes.size() == box.size() && sizes.size() >= 2 && sizes.size() <= kMost,
                 "[kernels/cuda] a tensor map of {} axes and a box of {}", sizes.size(), box.size());
  std::array<cuuint64_t, kMost> extents{}, strides{};
  std::array<cuuint32_t, kMost> box_sizes{}, steps{};
  const cuuint64_t element = type == TileType::kBF16 ? 2 : 4;
  cuuint64_t stride = element;
  for (size_t i = 0; i < sizes.size(); ++i) {
    extents[i] = static_cast<cuuint64_t>(sizes[i]);
    box_sizes[i] = static_cast<cuuint32_t>(box.begin()[i]);
    steps[i] = 1;
    stride *= extents[i];
    strides[i] = stride;
  }
  CUtensorMap map;
  const CUresult code =
      encode(&map, type == TileType::kBF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
             static_cast<cuuint32_t>(sizes.size()), const_cast<void*>(data), extents.data(), strides.data(),
             box_sizes.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CONCLAVE_CHECK(code == CUDA_SUCCESS, "[kernels/cuda] cuTensorMapEncodeTiled failed with {} for {} x {} at {}",
                 static_cast<int>(code), sizes[0], sizes[1], data);
  return map;
}

}  // namespace conclave::kernels::cuda
