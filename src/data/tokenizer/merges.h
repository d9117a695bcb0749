// Byte-pair encoding: the table of merges and their application to a word. Sennrich, Haddow, Birch (2016), "Neural
// Machine Translation of Rare Words with Subword Units".
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace conclave {

struct Merge {
  int32_t rank;    ///< lower ranks are merged first
  int32_t merged;  ///< the symbol that replaces the pair
};

/// (left, right) -> Merge. Symbols are any non-negative numbers.
class MergeTable {
 public:
  explicit MergeTable(int64_t expected = 0);
  /// A pair given again replaces the earlier one.
  void set(int32_t left, int32_t right, Merge merge);
  const Merge* find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    size_t slot = slot_of(key);
    while (slots_[slot].key != kFree) {
      if (slots_[slot].key == key) return &slots_[slot].merge;
      slot = (slot + 1) & mask_;
    }
    return nullptr;
  }
  int64_t size() const { return size_; }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  struct Slot {
    uint64_t key = kFree;
    Merge merge{};
  };
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  int shift_ = 0;
  int64_t size_ = 0;

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15ULL) >> shift_; }
  void resize(size_t slots);
};

/// Applies merges until none is left: each time the pair of lowest rank, the leftmost among equals. Time O(n log n).
class Merger {
 public:
  /// A pair that could be merged at some moment.
  struct Candidate {
    int32_t left, right, merged;
  };
  /// Replaces `symbols` by what remains. If `candidates` is given, every pair that ever stood side by side and has a
  /// merge is appended to it, in the order of their appearance.
  void apply(const MergeTable& table, std::vector<int32_t>& symbols, std::vector<Candidate>* candidates = nullptr);

 private:
  static constexpr size_t kShort = 40;  ///< up to here scanning beats a heap
  struct Node {
    int32_t symbol;
    int32_t rank;    ///< of the pair with the next node, kNone if there is no merge
    int32_t merged;  ///< what that pair becomes
    int32_t previous, next;
  };
  static constexpr int32_t kNone = INT32_MAX;
  std::vector<Node> nodes_;
  std::vector<uint64_t> heap_;  ///< rank << 32 | position
  std::vector<Candidate>* candidates_ = nullptr;

  void apply_short(const MergeTable& table, std::vector<int32_t>& symbols);
  void apply_long(const MergeTable& table, std::vector<int32_t>& symbols);
  void look_up(const MergeTable& table, Node& node, int32_t right);
};

}  // namespace conclave
