// Device memory with names: every byte belongs to a category and carries what it is for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace conclave {

enum class MemoryCategory : uint8_t { kWeights, kGradients, kOptimizer, kActivations, kWorkspace };
inline constexpr int kMemoryCategoryCount = 5;
std::string_view memory_category_name(MemoryCategory category);

/// What an allocation is for. `name` must outlive the allocation (a literal, or a name that the allocator keeps:
/// intern()).
struct MemoryTag {
  MemoryCategory category = MemoryCategory::kActivations;
  const char* name = "";
};

/// Bytes asked for, rounded up to kAlignment each; equal on every device for the same program.
struct MemoryStatistics {
  std::array<int64_t, kMemoryCategoryCount> current{};        ///< now, by category
  std::array<int64_t, kMemoryCategoryCount> at_peak{};        ///< when the total was highest, by category
  std::array<int64_t, kMemoryCategoryCount> category_peak{};  ///< each category's own highest
  int64_t current_total = 0;
  int64_t peak_total = 0;
  int64_t allocation_count = 0;
};

/// What the allocator has taken from the system to serve from, where it keeps memory of its own (GPU).
struct MemoryBacking {
  int64_t bytes = 0;  ///< now
  int64_t calls = 0;  ///< how often it asked the system, ever: a steady step asks for nothing
};

class Allocator;

/// A block of device memory, given back when the last owner goes. data() is null on `sim` and for zero bytes.
class MemoryBlock {
 public:
  MemoryBlock(Allocator& owner, std::byte* data, int64_t bytes, MemoryTag tag)
      : owner_(&owner), data_(data), bytes_(bytes), tag_(tag) {}
  ~MemoryBlock();
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;
  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const MemoryTag& tag() const { return tag_; }

 private:
  Allocator* owner_;
  std::byte* data_;
  int64_t bytes_;
  MemoryTag tag_;
};

/// Hands out aligned blocks and keeps the books. Safe from several threads; the books are the same in every run as long
/// as one thread drives the device.
class Allocator {
 public:
  static constexpr int64_t kAlignment = 64;
  virtual ~Allocator() = default;

  std::shared_ptr<MemoryBlock> allocate(int64_t bytes, MemoryTag tag);
  MemoryStatistics statistics() const;
  /// Forgets the peaks: they start again from what is held now.
  void reset_peak();
  /// Bytes by tag name when the total was highest ("category/name" -> bytes).
  std::map<std::string, int64_t> names_at_peak() const;
  /// Keeps books by name as well (a little slower); off by default.
  void set_name_tracking(bool on);
  /// Allocations above this total throw UserError naming what holds what; 0 = no limit.
  void set_limit(int64_t bytes);
  /// Table of current and peak bytes for people.
  std::string report() const;
  virtual MemoryBacking backing() const { return {}; }

 protected:
  // Called with the books locked.
  virtual std::byte* take(int64_t bytes) = 0;
  virtual void give_back(std::byte* data, int64_t bytes) = 0;
  int64_t booked() const { return statistics_.current_total; }
  /// Books by name of what is held now, for holdings(); cheaper than set_name_tracking(), which keeps the peak's too.
  void track_live_names() { track_names_ = true; }
  /// The table, and the largest names where they are tracked.
  std::string holdings() const;

 private:
  friend class MemoryBlock;
  void release(MemoryBlock& block);
  void book(int64_t bytes, const MemoryTag& tag);
  using Names = std::map<std::pair<MemoryCategory, const char*>, int64_t>;  // a name that holds nothing may be gone
  std::string table() const;
  static std::map<std::string, int64_t> readable(const Names& names);
  mutable std::mutex mutex_;
  MemoryStatistics statistics_;
  bool track_names_ = false, track_peak_names_ = false;
  int64_t limit_ = 0;
  Names names_now_;
  std::map<std::string, int64_t> names_at_peak_;
};

}  // namespace conclave
