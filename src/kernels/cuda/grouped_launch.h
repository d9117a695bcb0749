// From pointers to a launch of grouped_tiles: tensor maps, cluster, shared memory.
#pragma once

#include "device/cuda/cuda_check.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/grouped_consumer.h"
#include "kernels/cuda/tensor_map.h"

namespace conclave::kernels::cuda {

/// Tensor maps of a product for tiles of this shape.
template <typename Shape>
struct GroupedMaps {
  CUtensorMap left, right, out;

  explicit GroupedMaps(const GroupedProduct& p) {
    const int64_t of_stack[] = {p.k, p.n, p.experts};
    const int64_t left_width = p.kind == GroupedKind::kForward ? p.k : p.n;
    const int64_t left_sizes[] = {left_width, p.rows};
    left = tensor_map(TileType::kBF16, p.left, left_sizes, {64, Shape::kLeftCopyRows});
    if constexpr (Shape::kSumsRows) {
      const int64_t right_sizes[] = {p.k, p.rows};
      right = tensor_map(TileType::kBF16, p.right, right_sizes, {64, Shape::kRightCopyRows});
      out = tensor_map(TileType::kF32, p.out, of_stack, {32, 64, 1});
    } else {
      const int64_t out_sizes[] = {p.kind == GroupedKind::kForward ? p.n : p.k, p.rows};
      right = tensor_map(TileType::kBF16, p.right, of_stack, {64, Shape::kRightCopyRows, 1});
      out = tensor_map(TileType::kBF16, p.out, out_sizes, {64, 64});
    }
  }
};

template <typename Shape>
TileArgs tile_args(const GroupedProduct& p, const GroupedTiling& tiling) {
  TileArgs args;
  args.offsets = p.offsets;
  args.bias = static_cast<const __nv_bfloat16*>(p.bias);
  args.out = static_cast<__nv_bfloat16*>(p.out);
  args.experts = static_cast<int>(p.experts);
  args.band = tiling.band;
  args.adding = tiling.adding;
  switch (p.kind) {
    case GroupedKind::kForward:
      args.width = static_cast<int>(p.n);
      args.depth = static_cast<int>(p.k);
      break;
    case GroupedKind::kInputGradient:
      args.width = static_cast<int>(p.k);
      args.depth = static_cast<int>(p.n);
      break;
    case GroupedKind::kWeightGradient:
      args.sums = static_cast<float*>(p.out);
      args.height = static_cast<int>(p.n);
      args.width = static_cast<int>(p.k);
      break;
  }
  return args;
}

template <typename Shape>
void launch_grouped_tiles(const GroupedProduct& p, const GroupedTiling& tiling, cudaStream_t stream) {
  static const bool prepared = [] {
    CONCLAVE_CUDA(
        cudaFuncSetAttribute(grouped_tiles<Shape>, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes));
    return true;
  }();
  static_cast<void>(prepared);
  const GroupedMaps<Shape> maps(p);
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {Shape::kBlocks, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(multiprocessors() / Shape::kBlocks * Shape::kBlocks));
  config.blockDim = dim3(Shape::kThreads);
  config.dynamicSmemBytes = Shape::kSharedBytes;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  CONCLAVE_CUDA(
      cudaLaunchKernelEx(&config, grouped_tiles<Shape>, maps.left, maps.right, maps.out, tile_args<Shape>(p, tiling)));
}

template <GroupedKind kKind, int kWidth>
void launch_grouped_of_width(const GroupedProduct& p, const GroupedTiling& tiling, cudaStream_t stream) {
  switch (tiling.shared) {
    case Shared::kNone:
      return launch_grouped_tiles<TileShape<kKind, kWidth, Shared::kNone>>(p, tiling, stream);
    case Shared::kLeft:
      return launch_grouped_tiles<TileShape<kKind, kWidth, Shared::kLeft>>(p, tiling, stream);
    case Shared::kRight:
      return launch_grouped_tiles<TileShape<kKind, kWidth, Shared::kRight>>(p, tiling, stream);
  }
}

/// Every tiling that is built, of one kind of product.
template <GroupedKind kKind>
void launch_grouped_of_kind(const GroupedProduct& p, const GroupedTiling& tiling, cudaStream_t stream) {
  if (tiling.width == 256) {
    launch_grouped_of_width<kKind, 256>(p, tiling, stream);
  } else if (tiling.width == 192) {
    launch_grouped_of_width<kKind, 192>(p, tiling, stream);
  } else {
    launch_grouped_of_width<kKind, 128>(p, tiling, stream);
  }
}

}  // namespace conclave::kernels::cuda
