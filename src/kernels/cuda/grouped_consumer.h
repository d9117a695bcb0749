// What multiplies and stores in the grouped products on Hopper, and the kernel itself.
//
// Rows are contiguous by expert, so one tensor map over all rows serves every expert. A tile at the end of a group
// reads on into the next group and stores only its own rows; sums over rows (weight gradient) clear the rows beyond
// the end in shared memory. Half tiles without rows multiply nothing.
#pragma once

#include "kernels/cuda/grouped_tiles.h"
#include "kernels/cuda/wgmma.h"

namespace conclave::kernels::cuda {

/// One of the two warpgroups that multiply and store.
template <typename Shape>
class Consumer {
 public:
  __device__ __forceinline__ Consumer(const TileMemory<Shape>& memory, const CUtensorMap* out_map, const TileArgs& args,
                                      int group)
      : memory_(memory), out_map_(out_map), args_(args), group_(group), thread_(threadIdx.x % 128) {}

  __device__ __forceinline__ void run(int rank) {
    TileWalk<Shape> walk(args_, rank);
    if constexpr (Shape::kWork == Work::kTurns) {
      take_turns(walk);
    } else {
      take_halves(walk);
    }
    if (thread_ == 0) hopper::wait_for_stores<0>();
  }

 private:
  /// Accumulators of 64 rows, per thread. They live for one tile: what is left of them at its end would have to be
  /// moved while the matrix units write, for which the compiler makes every product wait for the one before.
  using Sums = float[Shape::kWidth / 2];

  /// Both warpgroups multiply 64 rows of every tile.
  __device__ __forceinline__ void take_halves(TileWalk<Shape>& walk) {
    Tile tile;
    bool more = walk.next(tile);
    while (more) {
      const Tile now = tile;
      const int valid = now.height - now.top - group_ * 64;
      // The way to the next tile is looked up while the last products of this one run.
      const auto look_ahead = [&] { more = walk.next(tile); };
      if (valid > 0) {
        Sums sums[1];
        multiply_halves(now, sums, look_ahead);
        store_half(now, sums[0], group_, valid);
      } else {
        pass_over(now);
        look_ahead();
      }
    }
  }

  /// A warpgroup multiplies in its turn, and stores while the other one multiplies.
  __device__ __forceinline__ void take_turns(TileWalk<Shape>& walk) {
    Tile tile;
    int turn = 0;
    if (group_ == 1) give_turn(0);
    for (; walk.next(tile); turn ^= 1) {
      if (turn != group_) {
        at_.advance((tile.depth + Shape::kDepth - 1) / Shape::kDepth);
        continue;
      }
      await_turn();
      const int valid = tile.height - tile.top;
      Sums sums[2];
      multiply_halves(tile, sums, [&] { give_turn(1 - group_); });
      if (valid > 0) store_half(tile, sums[0], 0, valid);
      if (valid > 64) store_half(tile, sums[1], 1, valid - 64);
    }
    if (turn == group_) await_turn();  // every turn that is given is taken
  }
  __device__ __forceinline__ void await_turn() { hopper::named_barrier(3 + group_, 256); }
  __device__ __forceinline__ void give_turn(int group) { hopper::named_arrive(3 + group, 256); }

  __device__ __forceinline__ void release(int stage) {
    if constexpr (Shape::kBlocks == 1) {
      if (thread_ == 0) hopper::barrier_arrive(memory_.empty + stage);
    } else {
      if (thread_ < Shape::kBlocks) hopper::barrier_arrive_at(memory_.empty + stage, thread_);
    }
  }

  /// A tile without rows of ours.
  __device__ __forceinline__ void pass_over(const Tile& tile) {
#pragma unroll 1
    for (int along = 0; along < tile.depth; along += Shape::kDepth) {
      hopper::barrier_wait(memory_.full + at_.stage, at_.phase);
      release(at_.stage);
      at_.advance();
    }
  }

  /// Calls `meanwhile` when all products are started.
  template <int kActive, typename Meanwhile>
  __device__ __forceinline__ void multiply_halves(const Tile& tile, Sums (&sums)[kActive], Meanwhile meanwhile) {
    int previous = -1;
#pragma unroll 1
    for (int along = 0; along < tile.depth; along += Shape::kDepth) {
      hopper::barrier_wait(memory_.full + at_.stage, at_.phase);
      if (Shape::kSumsRows && tile.depth - along < Shape::kDepth) clear_rows(at_.stage, tile.depth - along);
      multiply_stage<kActive>(sums, at_.stage, along);
      hopper::products_wait<1>();
      if (previous >= 0) release(previous);
      previous = at_.stage;
      at_.advance();
    }
    meanwhile();
    hopper::products_wait<0>();
#pragma unroll
    for (int h = 0; h < kActive; ++h) hopper::hold(sums[h]);
    if (previous >= 0) release(previous);
  }

  template <int kActive>
  __device__ __forceinline__ void multiply_stage(Sums (&sums)[kActive], int stage, int along) {
    const uint32_t left_address =
        hopper::shared_address(memory_.left(stage)) + (Shape::kWork == Work::kHalves ? group_ * 8192 : 0);
    const uint64_t left = hopper::tile_descriptor(left_address, 1024, Shape::kLeftTurned ? 8192 : 16);
    const uint64_t right =
        hopper::tile_descriptor(hopper::shared_address(memory_.right(stage)), 1024, Shape::kRightTurned ? 8192 : 16);
    hopper::products_begin();
#pragma unroll
    for (int i = 0; i < Shape::kDepth / 16; ++i) {
      // Sixteen further along the sum: 32 bytes of each row, or sixteen rows.
      const uint64_t right_at = right + i * (Shape::kRightTurned ? 2048 : 32) / 16;
#pragma unroll
      for (int h = 0; h < kActive; ++h) {
        const uint64_t left_at = left + (i * (Shape::kLeftTurned ? 2048 : 32) + h * 8192) / 16;
        hopper::multiply<Shape::kLeftTurned, Shape::kRightTurned>(sums[h], left_at, right_at, along + i);
      }
    }
    hopper::products_close();
  }

  /// Clears rows of a stage from `valid` on: they belong to the next group, or to nobody.
  __device__ __forceinline__ void clear_rows(int stage, int valid) {
    const int units = (64 - valid) * 8;
    const float4 zero = make_float4(0, 0, 0, 0);
    for (int i = thread_; i < units; i += 128) {
      const int place = valid * 128 + i * 16;
#pragma unroll
      for (int h = 0; h < Shape::kHalves; ++h) {
        const int chunk = Shape::kWork == Work::kTurns ? h : group_;
        *reinterpret_cast<float4*>(memory_.left(stage) + chunk * 8192 + place) = zero;
      }
#pragma unroll
      for (int c = 0; c < Shape::kWidth / 64; ++c)
        *reinterpret_cast<float4*>(memory_.right(stage) + c * 8192 + place) = zero;
    }
    hopper::fence_for_async_readers();
    hopper::named_barrier(1 + group_, 128);
  }

  /// The next piece of memory, once the store that read it is done.
  __device__ __forceinline__ uint8_t* open_piece() {
    uint8_t* const piece = memory_.pieces + (group_ * Shape::kPieces + next_piece_) * Shape::kPieceBytes;
    next_piece_ = next_piece_ + 1 == Shape::kPieces ? 0 : next_piece_ + 1;
    if (thread_ == 0) hopper::wait_for_store_reads<Shape::kPieces - 1>();
    hopper::named_barrier(1 + group_, 128);
    return piece;
  }
  /// After it is written.
  __device__ __forceinline__ void close_piece() {
    hopper::fence_for_async_readers();
    hopper::named_barrier(1 + group_, 128);
  }

  /// 64 rows of a tile, from row 64 * half on, of which `valid` exist.
  __device__ __forceinline__ void store_half(const Tile& tile, Sums& sums, int half, int valid) {
    if constexpr (Shape::kSumsRows) {
      args_.adding == Adding::kByEngine ? add_sums(tile, sums, half) : add_by_loads(tile, sums, half);
    } else {
      if (Shape::kKind == GroupedKind::kForward && args_.bias != nullptr) add_bias(tile, sums);
      store_rows(tile, sums, half, valid);
    }
  }

  __device__ __forceinline__ void add_bias(const Tile& tile, Sums& sums) {
    const __nv_bfloat16* const bias = args_.bias + static_cast<int64_t>(tile.expert) * args_.width;
#pragma unroll
    for (int j = 0; j < Shape::kWidth / 8; ++j) {
      const int column = tile.left + j * 8 + thread_ % 4 * 2;
      const bool inside = column < args_.width;  // not a way out of the loop: see Sums
      const float2 value =
          inside ? __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(bias + column)) : make_float2(0, 0);
      sums[j * 4] += value.x;
      sums[j * 4 + 1] += value.y;
      sums[j * 4 + 2] += value.x;
      sums[j * 4 + 3] += value.y;
    }
  }

  static __device__ __forceinline__ uint32_t packed(const Sums& sums, int index) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(sums[index], sums[index + 1]);
    return *reinterpret_cast<const uint32_t*>(&pair);
  }

  /// bf16, 64 columns at a time: by the copy engine where all 64 rows are ours, else row by row.
  __device__ __forceinline__ void store_rows(const Tile& tile, const Sums& sums, int half, int valid) {
    const int lane = thread_ % 32, row = thread_ / 32 * 16 + lane % 16;
    const int first_row = tile.first_row + tile.top + half * 64;
#pragma unroll
    for (int c = 0; c < Shape::kWidth / 64; ++c) {
      const int left = tile.left + c * 64;
      if (left >= args_.width) break;
      uint8_t* const piece = open_piece();
      const uint32_t to = hopper::shared_address(piece) + row * 128;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = c * 32 + i * 8;
        hopper::store_matrices(to + (((i * 2 + lane / 16) ^ (row & 7)) << 4), packed(sums, at), packed(sums, at + 2),
                               packed(sums, at + 4), packed(sums, at + 6));
      }
      close_piece();
      if (valid >= 64) {
        if (thread_ == 0) hopper::store_2d(out_map_, piece, left, first_row);
      } else {
        store_some_rows(piece, first_row, valid, left);
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
  __device__ __forceinline__ void add_sums(const Tile& tile, const Sums& sums, int half) {
    const int lane = thread_ % 32, row = thread_ / 32 * 16 + lane / 4;
#pragma unroll
    for (int c = 0; c < Shape::kWidth / 32; ++c) {
      const int left = tile.left + c * 32;
      if (left >= args_.width) break;
      uint8_t* const piece = open_piece();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = c * 16 + i * 4;
        uint8_t* const to = piece + row * 128 + (((i * 2 + lane % 4 / 2) ^ (row & 7)) << 4) + lane % 2 * 8;
        *reinterpret_cast<float2*>(to) = make_float2(sums[at], sums[at + 1]);
        *reinterpret_cast<float2*>(to + 8 * 128) = make_float2(sums[at + 2], sums[at + 3]);
      }
      close_piece();
      if (thread_ == 0) {
        hopper::add_3d(out_map_, piece, left, tile.top + half * 64, tile.expert);
        hopper::close_stores();
      }
    }
  }

  /// f32, by loads and stores, some of them at a time: four threads have the 32 bytes of a sector.
  __device__ __forceinline__ void add_by_loads(const Tile& tile, const Sums& sums, int half) {
    constexpr int kAtOnce = Shape::kWidth == 192 ? 4 : 8;
    const int lane = thread_ % 32, column = tile.left + lane % 4 * 2;
    const int row = tile.top + half * 64 + thread_ / 32 * 16 + lane / 4;
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      if (row + part * 8 >= tile.height) break;
      const int64_t at_row = static_cast<int64_t>(tile.expert) * tile.height + row + part * 8;
      auto* const place = reinterpret_cast<float2*>(args_.sums + at_row * args_.width + column);
      const int columns = args_.width - column;
#pragma unroll
      for (int first = 0; first < Shape::kWidth / 8; first += kAtOnce) {
        float2 had[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i)
          if ((first + i) * 8 < columns) had[i] = __ldcs(place + (first + i) * 4);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          const int at = (first + i) * 4 + part * 2;
          if ((first + i) * 8 < columns)
            __stcs(place + (first + i) * 4, make_float2(had[i].x + sums[at], had[i].y + sums[at + 1]));
        }
      }
    }
  }

  const TileMemory<Shape>& memory_;
  const CUtensorMap* out_map_;
  const TileArgs& args_;
  int group_, thread_;
  int next_piece_ = 0;
  RingPlace<Shape::kStages> at_;
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
      hopper::barrier_init(memory.empty + i, Shape::kReaders * Shape::kBlocks);
    }
    hopper::barrier_init_fence();
  }
  __syncthreads();
  if constexpr (Shape::kBlocks > 1) hopper::cluster_barrier();
  const int group = threadIdx.x / 128;
  if (group == 0) {
    hopper::give_registers<40>();
    if (threadIdx.x == 0) produce_tiles<Shape>(memory, &left_map, &right_map, args, rank);
    __syncwarp();
  } else {
    hopper::take_registers<232>();
    Consumer<Shape>(memory, &out_map, args, group - 1).run(rank);
  }
  // The other block still arrives at barriers here.
  if constexpr (Shape::kBlocks > 1) hopper::cluster_barrier();
#endif
}

}  // namespace conclave::kernels::cuda
