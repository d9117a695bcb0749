// Page-locked host memory through which copies between host and GPU go, so that neither waits for the other.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

namespace conclave {

class PinnedRing {
 public:
  explicit PinnedRing(int device) : device_(device) {}
  ~PinnedRing();
  PinnedRing(const PinnedRing&) = delete;
  PinnedRing& operator=(const PinnedRing&) = delete;

  /// `source` may change as soon as this returns.
  void to_device(cudaStream_t stream, void* destination, const void* source, int64_t bytes);
  /// Done on return.
  void to_host(cudaStream_t stream, void* destination, const void* source, int64_t bytes);

 private:
  struct Piece {
    std::byte* data = nullptr;
    int64_t begin = 0, end = 0;
    cudaEvent_t used = nullptr;  ///< reached when the GPU is done with the piece
  };
  Piece take(int64_t bytes);
  void commit(Piece piece, cudaStream_t stream);
  void wait_for_oldest();

  static constexpr int64_t kCapacity = 64 << 20;
  static constexpr int64_t kPiece = 8 << 20;

  int device_;
  std::mutex mutex_;
  std::byte* memory_ = nullptr;  ///< taken with the first copy
  int64_t head_ = 0;
  std::deque<Piece> under_way_;  ///< oldest first
  std::vector<cudaEvent_t> spare_events_;
};

}  // namespace conclave
