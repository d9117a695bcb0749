// The shape of tiles of the grouped products on Hopper, the walk over them and the copies into shared memory. A block
// is one producer warp, which starts copies into a ring of stages, and two warpgroups that multiply and store
// (grouped_consumer.h). Blocks stay for the whole product and walk over tiles; offsets are read here, so the host never
// waits for the routing.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/grouped_hopper.h"
#include "kernels/cuda/hopper.h"

namespace conclave::kernels::cuda {

template <GroupedKind kind, int width, Shared shared>
struct TileShape {
  static constexpr GroupedKind kKind = kind;
  static constexpr Shared kShared = shared;
  static constexpr int kHeight = 128, kWidth = width, kDepth = 64;
  static constexpr Work kWork = kind == GroupedKind::kWeightGradient && width < 256 ? Work::kTurns : Work::kHalves;
  static constexpr int kHalves = kWork == Work::kTurns ? 2 : 1;   ///< of a tile, for one warpgroup
  static constexpr int kReaders = kWork == Work::kTurns ? 1 : 2;  ///< warpgroups that read a stage
  static constexpr bool kSumsRows = kind == GroupedKind::kWeightGradient;
  // "Turned": memory runs along the tile's own axis, not along the sum.
  static constexpr bool kLeftTurned = kSumsRows, kRightTurned = kind != GroupedKind::kForward;
  static constexpr int kBlocks = shared == Shared::kNone ? 1 : 2;
  static constexpr int kLeftBytes = kHeight * kDepth * 2, kRightBytes = kWidth * kDepth * 2;
  static constexpr int kStageBytes = kLeftBytes + kRightBytes;
  static constexpr int kPieceBytes = 8192;              ///< what a store takes: 64 rows of 128 bytes
  static constexpr int kPieces = width == 256 ? 2 : 4;  ///< per warpgroup
  static constexpr int kStages = (232448 - 2048 - 2 * kPieces * kPieceBytes) / kStageBytes;
  static constexpr int kSharedBytes = 1024 + kStages * kStageBytes + 2 * kPieces * kPieceBytes + 2 * kStages * 8;
  static constexpr int kThreads = 384;
  /// Rows of one copy: of the tile (or the sum, if turned), halved where the cluster shares the operand.
  static constexpr int kLeftCopyRows = (kLeftTurned ? kDepth : kHeight) / (shared == Shared::kLeft ? 2 : 1);
  static constexpr int kRightCopyRows = (kRightTurned ? kDepth : kWidth) / (shared == Shared::kRight ? 2 : 1);
};

struct TileArgs {
  const int64_t* offsets = nullptr;
  const __nv_bfloat16* bias = nullptr;
  __nv_bfloat16* out = nullptr;
  float* sums = nullptr;  ///< out of weight gradients
  Adding adding = Adding::kByEngine;
  int experts = 0;
  int height = 0;  ///< of an expert's output; 0: its rows
  int width = 0;   ///< of the output
  int depth = 0;   ///< of the sum; 0: the expert's rows
  int band = 16;
};

struct Tile {
  int expert, first_row, rows;  ///< the group
  int top, left;                ///< first row (within the group, or the output) and column of the tile
  int height, depth;            ///< of the expert's output and sum
};

/// Walks over the tiles of this block's cluster, in the same order in every thread that asks.
template <typename Shape>
class TileWalk {
 public:
  __device__ __forceinline__ TileWalk(const TileArgs& args, int rank)
      : args_(args), rank_(rank), unit_(blockIdx.x / Shape::kBlocks), row_end_(static_cast<int>(args.offsets[0])) {}

  __device__ __forceinline__ bool next(Tile& tile) {
    constexpr int kUp = Shape::kShared == Shared::kRight ? 2 : 1, kAcross = Shape::kShared == Shared::kLeft ? 2 : 1;
    while (unit_ >= end_) {
      if (++expert_ >= args_.experts) return false;
      first_row_ = row_end_;
      row_end_ = static_cast<int>(args_.offsets[expert_ + 1]);
      const int rows = row_end_ - first_row_;
      begin_ = end_;
      if (rows <= 0) continue;
      height_ = args_.height > 0 ? args_.height : rows;
      high_ = (height_ + kUp * Shape::kHeight - 1) / (kUp * Shape::kHeight);
      across_ = (args_.width + kAcross * Shape::kWidth - 1) / (kAcross * Shape::kWidth);
      end_ += high_ * across_;
    }
    const int at = unit_ - begin_, per_band = args_.band * across_;
    const int band = at / per_band, in_band = at - band * per_band;
    const int high = min(args_.band, high_ - band * args_.band);
    const int column = in_band / high, row = band * args_.band + in_band - column * high;
    tile.expert = expert_;
    tile.first_row = first_row_;
    tile.rows = row_end_ - first_row_;
    tile.top = (row * kUp + (kUp > 1 ? rank_ : 0)) * Shape::kHeight;
    tile.left = (column * kAcross + (kAcross > 1 ? rank_ : 0)) * Shape::kWidth;
    tile.height = height_;
    tile.depth = args_.depth > 0 ? args_.depth : tile.rows;
    unit_ += gridDim.x / Shape::kBlocks;
    return true;
  }

 private:
  const TileArgs& args_;
  int rank_, unit_;
  int expert_ = -1, begin_ = 0, end_ = 0, first_row_ = 0, row_end_;
  int height_ = 0, high_ = 1, across_ = 1;
};

/// Place and phase in the ring of stages.
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
  __device__ __forceinline__ void advance(int steps) {
    const int passed = stage + steps;
    stage = passed % kStages;
    phase ^= passed / kStages & 1;
  }
};

template <typename Shape>
struct TileMemory {
  uint8_t* stages;
  uint8_t* pieces;
  uint64_t* full;
  uint64_t* empty;

  __device__ explicit TileMemory(uint8_t* raw) {
    const uint32_t address = hopper::shared_address(raw);
    stages = raw + ((1024 - (address & 1023)) & 1023);
    pieces = stages + Shape::kStages * Shape::kStageBytes;
    full = reinterpret_cast<uint64_t*>(pieces + 2 * Shape::kPieces * Shape::kPieceBytes);
    empty = full + Shape::kStages;
  }
  __device__ __forceinline__ uint8_t* left(int stage) const { return stages + stage * Shape::kStageBytes; }
  __device__ __forceinline__ uint8_t* right(int stage) const { return left(stage) + Shape::kLeftBytes; }
};

/// Starts the copies of one operand's part of a stage: tile rows from `across` on, sum from `along` on.
template <bool kTurned, bool kIsShared, int kExtent, bool kPerExpert>
__device__ __forceinline__ void copy_operand(uint8_t* to, const CUtensorMap* map, uint64_t* barrier, int across,
                                             int along, int expert, int rank) {
  constexpr int kCopies = kTurned ? kExtent / 64 : 1;
  constexpr int kRows = kTurned ? 64 : kExtent;
#pragma unroll
  for (int c = 0; c < kCopies; ++c) {
    const int part = kIsShared ? rank * (kRows / 2) : 0;
    const int x = kTurned ? across + c * 64 : along;
    const int y = (kTurned ? along : across) + part;
    uint8_t* const place = to + c * 8192 + part * 128;
    if constexpr (kIsShared && kPerExpert) {
      hopper::load_3d_to(3, place, map, barrier, x, y, expert);
    } else if constexpr (kIsShared) {
      hopper::load_2d_to(3, place, map, barrier, x, y);
    } else if constexpr (kPerExpert) {
      hopper::load_3d(place, map, barrier, x, y, expert);
    } else {
      hopper::load_2d(place, map, barrier, x, y);
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void produce_tiles(const TileMemory<Shape>& memory, const CUtensorMap* left_map,
                                              const CUtensorMap* right_map, const TileArgs& args, int rank) {
  RingPlace<Shape::kStages> at;
  TileWalk<Shape> walk(args, rank);
  Tile tile;
  while (walk.next(tile)) {
    const int row_of_sum = Shape::kSumsRows ? tile.first_row : 0;
    const int row_of_tile = Shape::kSumsRows ? tile.top : tile.first_row + tile.top;
#pragma unroll 1
    for (int along = 0; along < tile.depth; along += Shape::kDepth) {
      hopper::barrier_wait(memory.empty + at.stage, at.phase ^ 1);
      uint64_t* const full = memory.full + at.stage;
      hopper::barrier_expect(full, Shape::kStageBytes);
      copy_operand<Shape::kLeftTurned, Shape::kShared == Shared::kLeft, Shape::kHeight, false>(
          memory.left(at.stage), left_map, full, row_of_tile, row_of_sum + along, 0, rank);
      copy_operand<Shape::kRightTurned, Shape::kShared == Shared::kRight, Shape::kWidth, !Shape::kSumsRows>(
          memory.right(at.stage), right_map, full, tile.left, row_of_sum + along, tile.expert, rank);
      at.advance();
    }
  }
}

}  // namespace conclave::kernels::cuda
