#include "kernels/cuda/slot_sort.h"

#include "kernels/cuda/reduce.cuh"

namespace conclave::kernels::cuda {
namespace {

// Slots of a block; their order inside is by warp, then by lane.
constexpr int kThreads = 256, kWarps = kThreads / kWarp;

struct Sort {
  const int32_t* experts;
  int64_t slots, topk;
  int expert_count, blocks;
  int64_t capacity;
  int32_t* before;  ///< [E, blocks]: choices of e in each block; then those in the blocks before
  int64_t* totals;  ///< [E]
  int64_t *counts, *offsets;
  int32_t *offsets32, *place_slot, *place_token, *slot_place;
};

__device__ __forceinline__ int expert_of(const Sort& s, int64_t slot) {
  if (slot >= s.slots) return -1;
  const int expert = s.experts[slot];
  return expert >= 0 && expert < s.expert_count ? expert : -1;
}

__global__ void count_kernel(Sort s) {
  extern __shared__ int32_t counts[];
  for (int e = threadIdx.x; e < s.expert_count; e += kThreads) counts[e] = 0;
  __syncthreads();
  const int expert = expert_of(s, int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (expert >= 0) atomicAdd(&counts[expert], 1);
  __syncthreads();
  for (int e = threadIdx.x; e < s.expert_count; e += kThreads) s.before[int64_t{e} * s.blocks + blockIdx.x] = counts[e];
}

/// Exclusive prefix of one value per thread over the block, and the total.
__device__ int64_t scan_block(int64_t value, int64_t* room, int64_t& total) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  int64_t sum = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const int64_t other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  __syncthreads();
  if (lane == kWarp - 1) room[warp] = sum;
  __syncthreads();
  int64_t first = 0;
  total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) first += room[w];
    total += room[w];
  }
  return first + sum - value;
}

// A block per expert: how many of its choices are in earlier blocks of slots.
__global__ void scan_blocks_kernel(Sort s) {
  __shared__ int64_t room[kWarps];
  int32_t* before = s.before + int64_t{blockIdx.x} * s.blocks;
  int64_t carried = 0;
  for (int first = 0; first < s.blocks; first += kThreads) {
    const int block = first + static_cast<int>(threadIdx.x);
    const int64_t count = block < s.blocks ? before[block] : 0;
    int64_t total = 0;
    const int64_t prefix = scan_block(count, room, total);
    if (block < s.blocks) before[block] = static_cast<int32_t>(carried + prefix);
    carried += total;
  }
  if (threadIdx.x == 0) s.totals[blockIdx.x] = carried;
}

__global__ void offsets_kernel(Sort s) {
  __shared__ int64_t room[kWarps];
  int64_t carried = 0;
  for (int first = 0; first < s.expert_count; first += kThreads) {
    const int e = first + static_cast<int>(threadIdx.x);
    const bool there = e < s.expert_count;
    const int64_t count = !there ? 0 : s.capacity > 0 ? s.capacity : s.totals[e];
    int64_t total = 0;
    const int64_t offset = carried + scan_block(count, room, total);
    carried += total;
    if (!there) continue;
    s.totals[e] = offset;
    if (s.counts != nullptr) s.counts[e] = count;
    if (s.offsets != nullptr) s.offsets[e] = offset;
    if (s.offsets32 != nullptr) s.offsets32[e] = static_cast<int32_t>(offset);
  }
  if (threadIdx.x != 0) return;
  if (s.offsets != nullptr) s.offsets[s.expert_count] = carried;
  if (s.offsets32 != nullptr) s.offsets32[s.expert_count] = static_cast<int32_t>(carried);
}

__global__ void place_kernel(Sort s) {
  extern __shared__ int32_t in_warp[];  // [warps, E] choices of each warp
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int i = threadIdx.x; i < kWarps * s.expert_count; i += kThreads) in_warp[i] = 0;
  __syncthreads();
  const int64_t slot = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int expert = expert_of(s, slot);
  const uint32_t same = __match_any_sync(0xffffffffu, expert);
  const int rank = __popc(same & ((1u << lane) - 1));
  if (expert >= 0 && rank == 0) in_warp[warp * s.expert_count + expert] = __popc(same);
  __syncthreads();
  if (slot >= s.slots) return;
  int64_t place = -1;
  if (expert >= 0) {
    place = s.totals[expert] + s.before[int64_t{expert} * s.blocks + blockIdx.x] + rank;
    for (int w = 0; w < warp; ++w) place += in_warp[w * s.expert_count + expert];
    if (s.capacity > 0 && place >= (int64_t{expert} + 1) * s.capacity) place = -1;
  }
  if (s.slot_place != nullptr) s.slot_place[slot] = static_cast<int32_t>(place);
  if (place < 0) return;
  if (s.place_slot != nullptr) s.place_slot[place] = static_cast<int32_t>(slot);
  if (s.place_token != nullptr) s.place_token[place] = static_cast<int32_t>(slot / s.topk);
}

}  // namespace

void sort_slots(const Stream& stream, const char* op, const SlotSort& sort) {
  CONCLAVE_CHECK(sort.expert_count > 0 && sort.expert_count <= kMostExperts, "[kernels/{}] {} experts; at most {}", op,
                 sort.expert_count, kMostExperts);
  const int64_t slots = sort.experts.element_count(), blocks = ceil_div(slots, kThreads);
  const MemoryTag tag{MemoryCategory::kWorkspace, "choices by expert"};
  const Tensor before = Tensor::empty(stream.device(), {sort.expert_count * blocks}, DType::kI32, tag);
  const Tensor totals = Tensor::empty(stream.device(), {sort.expert_count}, DType::kI64, tag);
  const Sort s{pointer<const int32_t>(sort.experts),
               slots,
               sort.experts.size(1),
               static_cast<int>(sort.expert_count),
               static_cast<int>(blocks),
               sort.capacity,
               pointer<int32_t>(before),
               pointer<int64_t>(totals),
               sort.counts,
               sort.offsets,
               sort.offsets32,
               sort.place_slot,
               sort.place_token,
               sort.slot_place};
  const cudaStream_t native = cuda_stream(stream);
  const auto experts = static_cast<unsigned>(sort.expert_count);
  if (blocks > 0) count_kernel<<<static_cast<unsigned>(blocks), kThreads, experts * sizeof(int32_t), native>>>(s);
  scan_blocks_kernel<<<experts, kThreads, 0, native>>>(s);
  offsets_kernel<<<1, kThreads, 0, native>>>(s);
  const size_t shared = kWarps * experts * sizeof(int32_t);
  allow_shared(place_kernel, shared);
  if (blocks > 0) place_kernel<<<static_cast<unsigned>(blocks), kThreads, shared, native>>>(s);
  check_launch(op);
}

}  // namespace conclave::kernels::cuda
