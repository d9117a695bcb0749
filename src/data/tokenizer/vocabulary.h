// The two-way map between token texts and ids.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

class Vocabulary {
 public:
  /// Ids above this are refused: real vocabularies are far smaller, and a damaged file must not ask for gigabytes.
  static constexpr int64_t kMaxSize = int64_t{1} << 24;

  /// Throws UserError if the id is out of range or taken, or the text is known already.
  void add(std::string_view text, int64_t id);
  /// Lets another text find `id` too; what is there already stays.
  void add_alias(std::string_view text, int32_t id);
  /// -1 if there is none.
  int32_t find(std::string_view text) const;
  /// "" where no token has the id.
  std::string_view text(int32_t id) const;
  bool has(int32_t id) const;
  /// One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(entry_of_id_.size()); }
  int64_t count() const { return static_cast<int64_t>(entries_.size()); }

 private:
  struct Entry {
    uint64_t hash;
    uint32_t offset;
    uint32_t length;
    int32_t id;
  };
  std::string bytes_;                 ///< all texts, one after the other
  std::vector<Entry> entries_;        ///< in the order of adding
  std::vector<int32_t> slots_;        ///< open addressing: index into entries_, or -1
  std::vector<int32_t> entry_of_id_;  ///< index into entries_, or -1

  size_t slot_of(std::string_view text, uint64_t hash) const;
  void insert(std::string_view text, int32_t id);
  void grow();
};

}  // namespace conclave
