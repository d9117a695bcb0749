// Remembers the ids of words. Bounded: when full it is emptied, and the words of the text at hand fill it again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

class WordCache {
 public:
  static constexpr size_t kMaxWord = 128;  ///< longer words are rare and not kept

  /// Where `word` is or would be; valid until the next call of insert.
  struct Place {
    uint64_t hash;
    size_t slot;
    bool found;
  };
  Place find(std::string_view word) const;
  std::span<const int32_t> ids(const Place& place) const {
    const Slot& slot = slots_[place.slot];
    return {ids_.data() + slot.ids, slot.id_count};
  }
  /// `place` is what find gave for `word`, which must not be there yet.
  void insert(const Place& place, std::string_view word, std::span<const int32_t> ids);

 private:
  static constexpr size_t kMaxWords = size_t{1} << 17;
  struct Slot {
    uint64_t hash = 0;
    uint32_t text = 0, ids = 0;
    uint32_t length = 0;  ///< 0: free
    uint32_t id_count = 0;
  };
  std::vector<Slot> slots_ = std::vector<Slot>(1024);
  size_t used_ = 0;
  std::string texts_;
  std::vector<int32_t> ids_;

  void grow();
};

}  // namespace conclave
