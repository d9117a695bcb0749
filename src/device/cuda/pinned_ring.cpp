#include "device/cuda/pinned_ring.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "device/cuda/cuda_check.h"

namespace conclave {

PinnedRing::~PinnedRing() {
  for (const Piece& piece : under_way_) cudaEventDestroy(piece.used);
  for (const cudaEvent_t event : spare_events_) cudaEventDestroy(event);
  if (memory_ != nullptr) cudaFreeHost(memory_);
  cudaGetLastError();
}

namespace {

// A recorded copy would read memory that holds other things by the time it is replayed.
void refuse_while_recording(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CONCLAVE_CUDA(cudaStreamIsCapturing(stream, &status));
  CONCLAVE_USER_CHECK(status == cudaStreamCaptureStatusNone,
                      "[device/cuda] a step that copies between host and GPU cannot be recorded as a CUDA graph; leave "
                      "out --cuda-graph-impl");
}

}  // namespace

void PinnedRing::wait_for_oldest() {
  CONCLAVE_CUDA(cudaEventSynchronize(under_way_.front().used));
  spare_events_.push_back(under_way_.front().used);
  under_way_.pop_front();
}

PinnedRing::Piece PinnedRing::take(int64_t bytes) {
  if (memory_ == nullptr) {
    void* memory = nullptr;
    CONCLAVE_CUDA(cudaSetDevice(device_));
    CONCLAVE_CUDA(cudaHostAlloc(&memory, kCapacity, cudaHostAllocDefault));
    memory_ = static_cast<std::byte*>(memory);
  }
  constexpr int64_t kAlignment = 256;
  const int64_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (head_ + size > kCapacity) {
    // What lies beyond the head goes first: pieces come back in the order of their places.
    while (!under_way_.empty() && under_way_.front().begin >= head_) wait_for_oldest();
    head_ = 0;
  }
  const auto in_the_way = [&] {
    return !under_way_.empty() && under_way_.front().begin < head_ + size && under_way_.front().end > head_;
  };
  while (in_the_way()) wait_for_oldest();
  Piece piece{memory_ + head_, head_, head_ + size, nullptr};
  head_ += size;
  if (spare_events_.empty()) {
    CONCLAVE_CUDA(cudaEventCreateWithFlags(&piece.used, cudaEventDisableTiming));
  } else {
    piece.used = spare_events_.back();
    spare_events_.pop_back();
  }
  return piece;
}

void PinnedRing::commit(Piece piece, cudaStream_t stream) {
  under_way_.push_back(piece);
  CONCLAVE_CUDA(cudaEventRecord(piece.used, stream));
}

void PinnedRing::to_device(cudaStream_t stream, void* destination, const void* source, int64_t bytes) {
  refuse_while_recording(stream);
  const std::lock_guard lock(mutex_);
  for (int64_t done = 0; done < bytes; done += kPiece) {
    const auto part = static_cast<size_t>(std::min(bytes - done, kPiece));
    const Piece piece = take(static_cast<int64_t>(part));
    std::memcpy(piece.data, static_cast<const std::byte*>(source) + done, part);
    CONCLAVE_CUDA(
        cudaMemcpyAsync(static_cast<std::byte*>(destination) + done, piece.data, part, cudaMemcpyHostToDevice, stream));
    commit(piece, stream);
  }
}

void PinnedRing::to_host(cudaStream_t stream, void* destination, const void* source, int64_t bytes) {
  refuse_while_recording(stream);
  const std::lock_guard lock(mutex_);
  struct Part {
    Piece piece;
    int64_t begin;
    size_t bytes;
  };
  std::deque<Part> parts;
  // Half the ring at most is read while the other half fills, so no piece is handed out again before it was read.
  constexpr size_t kInFlight = kCapacity / kPiece / 2;
  const auto finish = [&] {
    CONCLAVE_CUDA(cudaEventSynchronize(parts.front().piece.used));
    std::memcpy(static_cast<std::byte*>(destination) + parts.front().begin, parts.front().piece.data,
                parts.front().bytes);
    parts.pop_front();
  };
  for (int64_t done = 0; done < bytes; done += kPiece) {
    if (parts.size() == kInFlight) finish();
    const auto part = static_cast<size_t>(std::min(bytes - done, kPiece));
    const Piece piece = take(static_cast<int64_t>(part));
    CONCLAVE_CUDA(cudaMemcpyAsync(piece.data, static_cast<const std::byte*>(source) + done, part,
                                  cudaMemcpyDeviceToHost, stream));
    commit(piece, stream);
    parts.push_back({piece, done, part});
  }
  while (!parts.empty()) finish();
}

}  // namespace conclave
