#include "device/cuda/cuda_allocator.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "device/cuda/cuda_check.h"

namespace conclave {

CudaAllocator::CudaAllocator(int device) : device_(device) { track_live_names(); }

// The driver may be gone already when a program ends.
CudaAllocator::~CudaAllocator() {
  for (const auto& [data, segment] : segments_) cudaFree(data);
  cudaGetLastError();
}

MemoryBacking CudaAllocator::backing() const { return {segment_bytes_, segment_calls_}; }

std::byte* CudaAllocator::take(int64_t bytes) {
  const int64_t size = round_up(bytes, kGrain);
  Pool& pool = pools_[recording_ ? 1 : 0];
  Free& free = size <= kSmall ? pool.small : pool.large;
  const auto found = free.lower_bound({size, nullptr});
  return cut(found != free.end() ? found->second : grow(size), size);
}

// The front of a free block becomes a block of its own.
std::byte* CudaAllocator::cut(std::byte* data, int64_t bytes) {
  Block& block = blocks_.at(data);
  Free& free = free_blocks(segments_.at(block.segment));
  free.erase({block.bytes, data});
  const int64_t rest = block.bytes - bytes;
  block.bytes = bytes;
  block.free = false;
  if (rest > 0) {
    blocks_[data + bytes] = {rest, true, block.segment};
    free.insert({rest, data + bytes});
  }
  return data;
}

void CudaAllocator::give_back(std::byte* data, int64_t) {
  auto at = blocks_.find(data);
  CONCLAVE_CHECK(at != blocks_.end() && !at->second.free, "a block that is not out comes back");
  Free& free = free_blocks(segments_.at(at->second.segment));
  at->second.free = true;
  const auto next = std::next(at);
  if (next != blocks_.end() && next->second.free && next->second.segment == at->second.segment) {
    free.erase({next->second.bytes, next->first});
    at->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (at != blocks_.begin()) {
    const auto before = std::prev(at);
    if (before->second.free && before->second.segment == at->second.segment) {
      free.erase({before->second.bytes, before->first});
      before->second.bytes += at->second.bytes;
      blocks_.erase(at);
      at = before;
    }
  }
  free.insert({at->second.bytes, at->first});
}

std::byte* CudaAllocator::grow(int64_t bytes) {
  int64_t segment = kSmallSegment;
  if (bytes > kSmall) segment = std::max(round_up(bytes, kSegmentGrain), kLargeSegment);
  std::byte* data = take_segment(segment);
  if (data == nullptr && segment > bytes && bytes > kSmall) {
    segment = round_up(bytes, kSegmentGrain);
    if (segment == kSmallSegment) segment += kSegmentGrain;
    data = take_segment(segment);
  }
  // While work is recorded nobody may wait for the GPU.
  if (data == nullptr && !recording_ && drop_empty_segments() > 0) data = take_segment(segment);
  if (data == nullptr) throw_out_of_memory(bytes);
  segments_[data] = {segment, recording_};
  segment_bytes_ += segment;
  blocks_[data] = {segment, true, data};
  free_blocks(segments_[data]).insert({segment, data});
  return data;
}

std::byte* CudaAllocator::take_segment(int64_t bytes) {
  CONCLAVE_CUDA(cudaSetDevice(device_));
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(error, "cudaMalloc");
  ++segment_calls_;
  return static_cast<std::byte*>(data);
}

int64_t CudaAllocator::drop_empty_segments() {
  std::vector<std::pair<std::byte*, int64_t>> empty;
  for (const auto& [data, segment] : segments_) {
    const Block& first = blocks_.at(data);
    if (!segment.recorded && first.free && first.bytes == segment.bytes) empty.emplace_back(data, segment.bytes);
  }
  int64_t dropped = 0;
  CONCLAVE_CUDA(cudaDeviceSynchronize());
  for (const auto& [data, bytes] : empty) {
    free_blocks(segments_.at(data)).erase({bytes, data});
    blocks_.erase(data);
    segments_.erase(data);
    CONCLAVE_CUDA(cudaFree(data));
    segment_bytes_ -= bytes;
    dropped += bytes;
  }
  return dropped;
}

void CudaAllocator::give_up_unused() { drop_empty_segments(); }

void CudaAllocator::throw_out_of_memory(int64_t bytes) const {
  size_t left = 0, whole = 0;
  cudaMemGetInfo(&left, &whole);
  throw_user(fmt::format(
      "[device/cuda] out of memory: {} more are wanted, {} of the GPU's {} are left, and {} stand ready in pieces that "
      "are too "
      "small; use a smaller --micro-batch-size, --recompute-granularity full or selective with --recompute-modules, "
      "--use-distributed-optimizer over more ranks, or a layout with more tensor, pipeline or expert parallelism "
      "(--device sim tells the peak of a configuration beforehand)\n{}",
      human_bytes(bytes), human_bytes(static_cast<int64_t>(left)), human_bytes(static_cast<int64_t>(whole)),
      human_bytes(segment_bytes_ - booked()), holdings()));
}

}  // namespace conclave
