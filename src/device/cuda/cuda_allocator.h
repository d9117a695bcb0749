// Caching allocator of GPU memory: blocks are cut from large segments and joined again when they come back, so a steady
// step asks the driver for nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "device/memory.h"

namespace conclave {

/// A block that comes back may be handed out at once: work of the default stream is in order, and what side streams
/// use is held until the default stream has waited for them (device.h). Best fit, lowest address first: the same
/// program gets the same addresses in every run, relative to the segments.
class CudaAllocator final : public Allocator {
 public:
  explicit CudaAllocator(int device);
  ~CudaAllocator() override;
  MemoryBacking backing() const override;

  /// While on, blocks come from segments of their own, which serve nothing else afterwards: the addresses stand in
  /// recorded work (recorded_work.h).
  void set_recording(bool on) { recording_ = on; }
  /// Hands segments that hold nothing back to the driver, but those of recorded work.
  void give_up_unused();

 protected:
  std::byte* take(int64_t bytes) override;
  void give_back(std::byte* data, int64_t bytes) override;

 private:
  struct Block {
    int64_t bytes = 0;
    bool free = true;
    std::byte* segment = nullptr;
  };
  struct Segment {
    int64_t bytes = 0;
    bool recorded = false;
  };
  using Free = std::set<std::pair<int64_t, std::byte*>>;  // (bytes, address)
  struct Pool {
    Free small, large;
  };

  Free& free_blocks(const Segment& segment) {
    Pool& pool = pools_[segment.recorded ? 1 : 0];
    return segment.bytes == kSmallSegment ? pool.small : pool.large;
  }
  std::byte* cut(std::byte* data, int64_t bytes);
  std::byte* grow(int64_t bytes);
  std::byte* take_segment(int64_t bytes);
  int64_t drop_empty_segments();
  [[noreturn]] void throw_out_of_memory(int64_t bytes) const;

  static constexpr int64_t kGrain = 512;              ///< blocks begin at multiples of this
  static constexpr int64_t kSmall = 1 << 20;          ///< up to here, blocks live in small segments of their own
  static constexpr int64_t kSmallSegment = 8 << 20;   ///< and every segment of this size is such a one
  static constexpr int64_t kSegmentGrain = 2 << 20;   ///< what the driver hands out in
  static constexpr int64_t kLargeSegment = 64 << 20;  ///< at least

  int device_;
  std::map<std::byte*, Block> blocks_;      ///< every block of every segment, by address
  std::map<std::byte*, Segment> segments_;  ///< by address
  std::array<Pool, 2> pools_;               ///< plain, of recorded work
  bool recording_ = false;
  int64_t segment_bytes_ = 0, segment_calls_ = 0;
};

}  // namespace conclave
