#include "kernels/router_capacity.h"

#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/slot_sort.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 256;

template <typename Real>
struct Drop {
  const int32_t *begin, *slots;  ///< choices by expert, in order of t
  const Real* probs;
  int32_t* kept;
  int64_t tokens, topk, capacity;
  DropPolicy policy;
};

template <typename Real>
__device__ __forceinline__ Real value_of(Real prob) {
  return prob != prob ? static_cast<Real>(INFINITY) : prob;  // NaN counts as the largest
}

/// The place of an entry among those of its sign, largest first, among equals the earliest first; and how many entries
/// above it are not zero.
struct Ranks {
  int64_t among_sign = 0, others_above = 0;
};

template <typename Real>
__device__ Ranks rank(const Drop<Real>& d, int32_t first, int32_t last, int32_t at, Real mine) {
  Ranks ranks;
  for (int32_t i = first; i < last; ++i) {
    const Real other = value_of(d.probs[d.slots[i]]);
    if ((other > 0) == (mine > 0) && (other < 0) == (mine < 0))
      ranks.among_sign += other > mine || (other == mine && i < at) ? 1 : 0;
    ranks.others_above += i < at && other != 0 ? 1 : 0;
  }
  return ranks;
}

// A block per expert; a thread per entry goes through all of the column. A column is as long as an expert's load.
template <typename Real>
__global__ void drop_kernel(Drop<Real> d) {
  __shared__ int64_t room[kThreads / kWarp];
  const int32_t first = d.begin[blockIdx.x], last = d.begin[blockIdx.x + 1];
  if (d.policy == DropPolicy::kPosition) {
    for (int64_t i = first + d.capacity + threadIdx.x; i < last; i += kThreads) d.kept[d.slots[i]] = -1;
    return;
  }
  int64_t positive = 0, negative = 0;
  for (int32_t i = first + static_cast<int32_t>(threadIdx.x); i < last; i += kThreads) {
    const Real value = value_of(d.probs[d.slots[i]]);
    positive += value > 0 ? 1 : 0;
    negative += value < 0 ? 1 : 0;
  }
  positive = sum_block(positive, room);
  negative = sum_block(negative, room);
  // Every row that is not routed holds a zero in this column.
  const int64_t free = d.capacity - positive, zeros = d.tokens - positive - negative;
  for (int32_t i = first + static_cast<int32_t>(threadIdx.x); i < last; i += kThreads) {
    const int32_t slot = d.slots[i];
    const Real mine = value_of(d.probs[slot]);
    const Ranks ranks = rank(d, first, last, i, mine);
    int64_t place = ranks.among_sign, limit = d.capacity;
    if (mine < 0) limit = free - zeros > 0 ? free - zeros : 0;
    if (mine == 0) {
      place = slot / d.topk - ranks.others_above;
      limit = free;
    }
    if (place >= limit) d.kept[slot] = -1;
  }
}

template <typename Real>
void drop(const Stream& stream, const RouterDropArgs& args) {
  const Drop<Real> d{args.workspace.data<int32_t>(),
                     args.workspace.data<int32_t>() + args.expert_count + 1,
                     pointer<const Real>(args.probs),
                     pointer<int32_t>(args.kept),
                     args.chosen.size(0),
                     args.chosen.size(1),
                     args.capacity,
                     args.policy};
  drop_kernel<<<static_cast<unsigned>(args.expert_count), kThreads, 0, cuda_stream(stream)>>>(d);
  check_launch("router_drop");
  const int32_t *chosen = pointer<const int32_t>(args.chosen), *kept = d.kept;
  Real* probs = pointer<Real>(args.probs);
  for_each(stream, "router_drop", args.chosen.element_count(), [=] __device__(auto i) {
    if (chosen[i] >= 0 && kept[i] < 0) probs[i] = 0;
  });
}

// A block per column: how many ones it has, then the first zeros become ones, in order of rows.
__global__ void pad_map_kernel(uint8_t* map, int64_t tokens, int64_t experts, MapPadding kind, int64_t amount) {
  __shared__ int64_t room[kThreads / kWarp];
  const int64_t e = blockIdx.x;
  int64_t ones = 0;
  for (int64_t t = threadIdx.x; t < tokens; t += kThreads) ones += map[t * experts + e];
  ones = sum_block(ones, room);
  const int64_t goal = kind == MapPadding::kToCapacity ? amount : (ones + amount - 1) / amount * amount;
  int64_t missing = goal - ones;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int64_t first = 0; first < tokens && missing > 0; first += kThreads) {
    const int64_t t = first + threadIdx.x;
    const bool zero = t < tokens && map[t * experts + e] == 0;
    const uint32_t ballot = __ballot_sync(0xffffffffu, zero);
    __syncthreads();
    if (lane == 0) room[warp] = __popc(ballot);
    __syncthreads();
    int64_t before = __popc(ballot & ((1u << lane) - 1)), all = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) {
      if (w < warp) before += room[w];
      all += room[w];
    }
    if (zero && before < missing) map[t * experts + e] = 1;
    missing -= all;
  }
}

__global__ void count_choices_kernel(const int32_t* chosen, const uint8_t* padding, int64_t slots, int64_t topk,
                                     int64_t experts, unsigned long long* sums) {
  extern __shared__ uint32_t counts[];
  for (int64_t e = threadIdx.x; e < experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < slots; i += int64_t{gridDim.x} * kThreads) {
    const int32_t expert = chosen[i];
    if (expert < 0 || expert >= experts || (padding != nullptr && padding[i / topk] != 0)) continue;
    atomicAdd(&counts[expert], 1u);
  }
  __syncthreads();
  for (int64_t e = threadIdx.x; e < experts; e += kThreads)
    if (counts[e] > 0) atomicAdd(&sums[e], static_cast<unsigned long long>(counts[e]));
}

// 32 columns a block.
__global__ void count_map_kernel(const uint8_t* map, const uint8_t* padding, int64_t tokens, int64_t experts,
                                 unsigned long long* sums) {
  __shared__ uint32_t room[8][33];
  const int64_t e = int64_t{blockIdx.x} * 32 + threadIdx.x;
  uint32_t ones = 0;
  if (e < experts)
    for (int64_t t = threadIdx.y; t < tokens; t += 8)
      if (padding == nullptr || padding[t] == 0) ones += map[t * experts + e];
  room[threadIdx.y][threadIdx.x] = ones;
  __syncthreads();
  if (threadIdx.y != 0 || e >= experts) return;
  unsigned long long total = 0;
  for (int i = 0; i < 8; ++i) total += room[i][threadIdx.x];
  sums[e] = total;
}

/// Whole numbers on the device, from zero: they add up the same in any order.
Tensor integer_sums(const Stream& stream, int64_t experts) {
  const Tensor sums =
      Tensor::empty(stream.device(), {experts}, DType::kI64, {MemoryCategory::kWorkspace, "counts of experts"});
  if (experts > 0)
    CONCLAVE_CUDA(cudaMemsetAsync(sums.raw(), 0, static_cast<size_t>(sums.bytes()), cuda_stream(stream)));
  return sums;
}
unsigned long long* sum_pointer(const Tensor& sums) {
  return reinterpret_cast<unsigned long long*>(sums.data<int64_t>());
}

template <typename Count>
void add_counts(const Stream& stream, const char* op, const Tensor& sums, const Tensor& counts) {
  const int64_t* from = pointer<const int64_t>(sums);
  Count* to = pointer<Count>(counts);
  for_each(stream, op, counts.element_count(), [=] __device__(auto e) { to[e] += static_cast<Count>(from[e]); });
}
void add_sums(const Stream& stream, const char* op, const Tensor& sums, const Tensor& counts) {
  counts.dtype() == DType::kF64 ? add_counts<double>(stream, op, sums, counts)
                                : add_counts<float>(stream, op, sums, counts);
}

}  // namespace

void router_drop(const Stream& stream, const RouterDropArgs& args) {
  if (args.chosen.element_count() == 0) return;
  CONCLAVE_CUDA(cudaMemcpyAsync(args.kept.raw(), args.chosen.raw(), static_cast<size_t>(args.chosen.bytes()),
                                cudaMemcpyDeviceToDevice, cuda_stream(stream)));
  if (args.capacity > args.chosen.size(0)) return;
  int32_t* begin = args.workspace.data<int32_t>();
  sort_slots(stream, "router_drop",
             {.experts = args.chosen,
              .expert_count = args.expert_count,
              .offsets32 = begin,
              .place_slot = begin + args.expert_count + 1});
  args.probs.dtype() == DType::kF64 ? drop<double>(stream, args) : drop<float>(stream, args);
}

void routing_map(const Stream& stream, const RoutingMapArgs& args) {
  const int64_t topk = args.experts.size(1), experts = args.map.size(1);
  if (args.map.bytes() == 0) return;
  CONCLAVE_CUDA(cudaMemsetAsync(args.map.raw(), 0, static_cast<size_t>(args.map.bytes()), cuda_stream(stream)));
  const int32_t* chosen = pointer<const int32_t>(args.experts);
  uint8_t* map = pointer<uint8_t>(args.map);
  for_each(stream, "routing_map", args.experts.element_count(), [=] __device__(auto i) {
    const int32_t expert = chosen[i];
    if (expert >= 0 && expert < experts) map[int64_t{i} / topk * experts + expert] = 1;
  });
}

void pad_routing_map(const Stream& stream, const PadRoutingMapArgs& args) {
  if (args.map.bytes() == 0) return;
  pad_map_kernel<<<static_cast<unsigned>(args.map.size(1)), kThreads, 0, cuda_stream(stream)>>>(
      pointer<uint8_t>(args.map), args.map.size(0), args.map.size(1), args.kind, args.amount);
  check_launch("pad_routing_map");
}

void count_choices(const Stream& stream, const CountChoicesArgs& args) {
  const int64_t experts = args.counts.element_count(), slots = args.experts.element_count();
  if (experts == 0 || slots == 0) return;
  CONCLAVE_CHECK(experts <= kMostExperts, "[kernels/count_choices] {} experts; at most {}", experts, kMostExperts);
  const Tensor sums = integer_sums(stream, experts);
  count_choices_kernel<<<grid_for(slots, kThreads, 132), kThreads, static_cast<size_t>(experts) * sizeof(uint32_t),
                         cuda_stream(stream)>>>(pointer<const int32_t>(args.experts),
                                                pointer<const uint8_t>(args.padding), slots, args.experts.size(1),
                                                experts, sum_pointer(sums));
  check_launch("count_choices");
  add_sums(stream, "count_choices", sums, args.counts);
}

void count_map(const Stream& stream, const CountMapArgs& args) {
  const int64_t experts = args.map.size(1);
  if (args.map.bytes() == 0) return;
  const Tensor sums = integer_sums(stream, experts);
  count_map_kernel<<<static_cast<unsigned>(ceil_div(experts, 32)), dim3(32, 8), 0, cuda_stream(stream)>>>(
      pointer<const uint8_t>(args.map), pointer<const uint8_t>(args.padding), args.map.size(0), experts,
      sum_pointer(sums));
  check_launch("count_map");
  add_sums(stream, "count_map", sums, args.counts);
}

}  // namespace conclave::kernels::cuda
