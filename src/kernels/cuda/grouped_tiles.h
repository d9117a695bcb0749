// The kernel of the grouped products on Hopper. A block is one producer warp, which starts copies into a ring of
// stages, and two consumer warpgroups of 64 x kWidth accumulators each. Blocks stay for the whole product and walk over
// tiles; offsets are read here, so the host never waits for the routing.
//
// Rows are contiguous by expert, so one tensor map over all rows serves every expert. A tile at the end of a group
// reads on into the next group and stores only its own rows; sums over rows (weight gradient) clear the rows beyond
// the end in shared memory. Half tiles without rows multiply nothing.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/grouped_hopper.h"
#include "kernels/cuda/hopper.h"
#include "kernels/cuda/wgmma.h"

namespace conclave::kernels::cuda {

template <GroupedKind kind, int width, Shared shared>
struct TileShape {
  static constexpr GroupedKind kKind = kind;
  static constexpr Shared kShared = shared;
  static constexpr int kHeight = 128, kWidth = width, kDepth = 64;
  static constexpr bool kSumsRows = kind == GroupedKind::kWeightGradient;
  // "Turned": memory runs along the tile's own axis, not along the sum.
  static constexpr bool kLeftTurned = kSumsRows, kRightTurned = kind != GroupedKind::kForward;
  static constexpr int kBlocks = shared == Shared::kNone ? 1 : 2;
  static constexpr int kLeftBytes = kHeight * kDepth * 2, kRightBytes = kWidth * kDepth * 2;
  static constexpr int kStageBytes = kLeftBytes + kRightBytes;
  static constexpr int kPieceBytes = 8192;  ///< what a store takes: 64 rows of 128 bytes
  static constexpr int kPieces = 2;         ///< per warpgroup
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
  int experts = 0;
  int height = 0;  ///< of an expert's output; 0: its rows
  int width = 0;   ///< of the output
  int depth = 0;   ///< of the sum; 0: the expert's rows
  int band = 16, lead = 0;
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

/// One of the two warpgroups that multiply and store.
template <typename Shape>
class Consumer {
 public:
  __device__ __forceinline__ Consumer(const TileMemory<Shape>& memory, const CUtensorMap* out_map, const TileArgs& args,
                                      int half)
      : memory_(memory), out_map_(out_map), args_(args), half_(half), thread_(threadIdx.x % 128) {}

  __device__ __forceinline__ void run(int rank) {
    if (args_.lead > 0 && half_ == 1) asm volatile("bar.sync 3, 256;" ::: "memory");
    TileWalk<Shape> walk(args_, rank);
    Tile tile;
    while (walk.next(tile)) {
      const int valid = tile.height - tile.top - half_ * 64;
      if (valid > 0) {
        multiply_tile(tile);
        store_tile(tile, valid);
      } else {
        skip_tile(tile);
      }
    }
    if (args_.lead > 0 && half_ == 0 && steps_ <= args_.lead) asm volatile("bar.arrive 3, 256;" ::: "memory");
    if (thread_ == 0) hopper::wait_for_stores<0>();
  }

 private:
  __device__ __forceinline__ void release(int stage) {
    if constexpr (Shape::kBlocks == 1) {
      if (thread_ == 0) hopper::barrier_arrive(memory_.empty + stage);
    } else {
      if (thread_ < Shape::kBlocks) hopper::barrier_arrive_at(memory_.empty + stage, thread_);
    }
  }
  __device__ __forceinline__ void take_step() {
    if (half_ == 0 && steps_ <= args_.lead) {
      if (args_.lead > 0 && steps_ == args_.lead) asm volatile("bar.arrive 3, 256;" ::: "memory");
      ++steps_;
    }
  }

  __device__ __forceinline__ void skip_tile(const Tile& tile) {
    for (int along = 0; along < tile.depth; along += Shape::kDepth) {
      take_step();
      hopper::barrier_wait(memory_.full + at_.stage, at_.phase);
      release(at_.stage);
      at_.advance();
    }
  }

  /// Clears rows of a stage from `valid` on: they belong to the next group, or to nobody.
  __device__ __forceinline__ void clear_rows(int stage, int valid) {
    constexpr int kChunks = Shape::kWidth / 64;
    const int units = (64 - valid) * 8;
    const float4 zero = make_float4(0, 0, 0, 0);
    for (int i = thread_; i < units; i += 128) {
      const int place = valid * 128 + i * 16;
      *reinterpret_cast<float4*>(memory_.left(stage) + half_ * 8192 + place) = zero;
#pragma unroll
      for (int c = 0; c < kChunks; ++c) *reinterpret_cast<float4*>(memory_.right(stage) + c * 8192 + place) = zero;
    }
    hopper::fence_for_async_readers();
    hopper::named_barrier(1 + half_, 128);
  }

  __device__ __forceinline__ void multiply_tile(const Tile& tile) {
    int previous = -1;
    for (int along = 0; along < tile.depth; along += Shape::kDepth) {
      take_step();
      hopper::barrier_wait(memory_.full + at_.stage, at_.phase);
      if (Shape::kSumsRows && tile.depth - along < Shape::kDepth) clear_rows(at_.stage, tile.depth - along);
      const uint64_t left = hopper::tile_descriptor(hopper::shared_address(memory_.left(at_.stage)) + half_ * 8192,
                                                    1024, Shape::kLeftTurned ? 8192 : 16);
      const uint64_t right = hopper::tile_descriptor(hopper::shared_address(memory_.right(at_.stage)), 1024,
                                                     Shape::kRightTurned ? 8192 : 16);
      hopper::products_begin();
#pragma unroll
      for (int i = 0; i < Shape::kDepth / 16; ++i) {
        // Sixteen further along the sum: 32 bytes of each row, or sixteen rows.
        const uint64_t left_at = left + i * (Shape::kLeftTurned ? 2048 : 32) / 16;
        const uint64_t right_at = right + i * (Shape::kRightTurned ? 2048 : 32) / 16;
        hopper::multiply<Shape::kLeftTurned, Shape::kRightTurned>(sums_, left_at, right_at, along + i);
      }
      hopper::products_close();
      hopper::products_wait<1>();
      if (previous >= 0) release(previous);
      previous = at_.stage;
      at_.advance();
    }
    hopper::products_wait<0>();
    hopper::hold(sums_);
    if (previous >= 0) release(previous);
  }

  __device__ __forceinline__ uint8_t* piece(int index) const {
    return memory_.pieces + (half_ * Shape::kPieces + index % Shape::kPieces) * Shape::kPieceBytes;
  }
  /// Before a piece of memory is written: the store that read it is done.
  __device__ __forceinline__ void open_piece() {
    if (thread_ == 0) hopper::wait_for_store_reads<Shape::kPieces - 1>();
    hopper::named_barrier(1 + half_, 128);
  }
  /// After it is written.
  __device__ __forceinline__ void close_piece() {
    hopper::fence_for_async_readers();
    hopper::named_barrier(1 + half_, 128);
  }

  __device__ __forceinline__ void store_tile(const Tile& tile, int valid) {
    if constexpr (Shape::kSumsRows) {
      add_sums(tile);
    } else {
      if (args_.bias != nullptr) add_bias(tile);
      store_rows(tile, valid);
    }
  }

  __device__ __forceinline__ void add_bias(const Tile& tile) {
    const __nv_bfloat16* const bias = args_.bias + static_cast<int64_t>(tile.expert) * args_.width;
#pragma unroll
    for (int j = 0; j < Shape::kWidth / 8; ++j) {
      const int column = tile.left + j * 8 + thread_ % 4 * 2;
      if (column >= args_.width) break;
      const float2 value = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(bias + column));
      sums_[j * 4] += value.x;
      sums_[j * 4 + 1] += value.y;
      sums_[j * 4 + 2] += value.x;
      sums_[j * 4 + 3] += value.y;
    }
  }

  __device__ __forceinline__ uint32_t packed(int index) const {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(sums_[index], sums_[index + 1]);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }

  /// bf16, 64 columns at a time: by the copy engine where all 64 rows are ours, else row by row.
  __device__ __forceinline__ void store_rows(const Tile& tile, int valid) {
    const int lane = thread_ % 32, row = thread_ / 32 * 16 + lane % 16;
    const int first_row = tile.first_row + tile.top + half_ * 64;
#pragma unroll
    for (int c = 0; c < Shape::kWidth / 64; ++c) {
      const int left = tile.left + c * 64;
      if (left >= args_.width) break;
      open_piece();
      const uint32_t to = hopper::shared_address(piece(c)) + row * 128;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = c * 32 + i * 8;
        hopper::store_matrices(to + (((i * 2 + lane / 16) ^ (row & 7)) << 4), packed(at), packed(at + 2),
                               packed(at + 4), packed(at + 6));
      }
      close_piece();
      if (valid >= 64) {
        if (thread_ == 0) hopper::store_2d(out_map_, piece(c), left, first_row);
      } else {
        store_some_rows(piece(c), first_row, valid, left);
      }
      if (thread_ == 0) hopper::close_stores();
    }
  }

  __device__ __forceinline__ void store_some_rows(const uint8_t* from, int first_row, int valid, int left) {
    for (int i = thread_; i < valid * 8; i += 128) {
      const int row = i / 8, unit = i % 8, column = left + unit * 8;
      if (column >= args_.width) continue;
      const uint4 value = *reinterpret_cast<const uint4*>(from + row * 128 + ((unit ^ (row & 7)) << 4));
      *reinterpret_cast<uint4*>(args_.out + static_cast<int64_t>(first_row + row) * args_.width + column) = value;
    }
  }

  /// f32, 32 columns at a time, added by the copy engine.
  __device__ __forceinline__ void add_sums(const Tile& tile) {
    const int lane = thread_ % 32, row = thread_ / 32 * 16 + lane / 4;
#pragma unroll
    for (int c = 0; c < Shape::kWidth / 32; ++c) {
      const int left = tile.left + c * 32;
      if (left >= args_.width) break;
      open_piece();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = c * 16 + i * 4;
        uint8_t* const to = piece(c) + row * 128 + (((i * 2 + lane % 4 / 2) ^ (row & 7)) << 4) + lane % 2 * 8;
        *reinterpret_cast<float2*>(to) = make_float2(sums_[at], sums_[at + 1]);
        *reinterpret_cast<float2*>(to + 8 * 128) = make_float2(sums_[at + 2], sums_[at + 3]);
      }
      close_piece();
      if (thread_ == 0) {
        hopper::add_3d(out_map_, piece(c), left, tile.top + half_ * 64, tile.expert);
        hopper::close_stores();
      }
    }
  }

  const TileMemory<Shape>& memory_;
  const CUtensorMap* out_map_;
  const TileArgs& args_;
  int half_, thread_;
  int steps_ = 0;
  RingPlace<Shape::kStages> at_;
  float sums_[Shape::kWidth / 2];
};

template <typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    grouped_tiles(const __grid_constant__ CUtensorMap left_map, const __grid_constant__ CUtensorMap right_map,
                  const __grid_constant__ CUtensorMap out_map, const __grid_constant__ TileArgs args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ uint8_t raw[];
  const TileMemory<Shape> memory(raw);
  const int rank = Shape::kBlocks == 1 ? 0 : static_cast<int>(hopper::cluster_rank());
  if (threadIdx.x == 0) {
    hopper::prefetch_map(&left_map);
    hopper::prefetch_map(&right_map);
    hopper::prefetch_map(&out_map);
    for (int i = 0; i < Shape::kStages; ++i) {
      hopper::barrier_init(memory.full + i, 1);
      hopper::barrier_init(memory.empty + i, 2 * Shape::kBlocks);
    }
    hopper::barrier_init_fence();
  }
  __syncthreads();
  if constexpr (Shape::kBlocks > 1) hopper::cluster_barrier();
  const int group = threadIdx.x / 128;
  if (group == 0) {
    hopper::give_registers<56>();
    if (threadIdx.x == 0) produce_tiles<Shape>(memory, &left_map, &right_map, args, rank);
    __syncwarp();
  } else {
    hopper::take_registers<224>();
    Consumer<Shape>(memory, &out_map, args, group - 1).run(rank);
  }
  // The other block still arrives at barriers here.
  if constexpr (Shape::kBlocks > 1) hopper::cluster_barrier();
#endif
}

}  // namespace conclave::kernels::cuda
