#include "data/tokenizer/vocabulary.h"

#include "base/error.h"
#include "base/hash.h"

namespace conclave {

void Vocabulary::add(std::string_view text, int64_t id) {
  CONCLAVE_USER_CHECK(id >= 0 && id < kMaxSize, "token '{}' has id {}; ids are 0 to {}", text.substr(0, 60), id,
                      kMaxSize - 1);
  CONCLAVE_USER_CHECK(find(text) < 0, "token '{}' is there twice, with ids {} and {}", text.substr(0, 60), find(text),
                      id);
  const auto small = static_cast<int32_t>(id);
  CONCLAVE_USER_CHECK(!has(small), "id {} is there twice, for tokens '{}' and '{}'", id,
                      this->text(small).substr(0, 60), text.substr(0, 60));
  if (id >= size()) entry_of_id_.resize(static_cast<size_t>(id) + 1, -1);
  entry_of_id_[static_cast<size_t>(id)] = static_cast<int32_t>(entries_.size());
  insert(text, small);
}

void Vocabulary::add_alias(std::string_view text, int32_t id) {
  if (find(text) < 0) insert(text, id);
}

int32_t Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return -1;
  const int32_t entry = slots_[slot_of(text, hash64(text))];
  return entry < 0 ? -1 : entries_[static_cast<size_t>(entry)].id;
}

std::string_view Vocabulary::text(int32_t id) const {
  if (!has(id)) return {};
  const Entry& entry = entries_[static_cast<size_t>(entry_of_id_[static_cast<size_t>(id)])];
  return std::string_view(bytes_).substr(entry.offset, entry.length);
}

bool Vocabulary::has(int32_t id) const { return id >= 0 && id < size() && entry_of_id_[static_cast<size_t>(id)] >= 0; }

size_t Vocabulary::slot_of(std::string_view text, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  while (slots_[slot] >= 0) {
    const Entry& entry = entries_[static_cast<size_t>(slots_[slot])];
    if (entry.hash == hash && std::string_view(bytes_).substr(entry.offset, entry.length) == text) break;
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Vocabulary::insert(std::string_view text, int32_t id) {
  CONCLAVE_USER_CHECK(bytes_.size() + text.size() < UINT32_MAX, "the vocabulary's texts are larger than 4 GiB");
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  const uint64_t hash = hash64(text);
  slots_[slot_of(text, hash)] = static_cast<int32_t>(entries_.size());
  entries_.push_back({hash, static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(text.size()), id});
  bytes_ += text;
}

void Vocabulary::grow() {
  slots_.assign(slots_.empty() ? 64 : slots_.size() * 2, -1);
  const size_t mask = slots_.size() - 1;
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & mask;
    while (slots_[slot] >= 0) slot = (slot + 1) & mask;
    slots_[slot] = static_cast<int32_t>(i);
  }
}

}  // namespace conclave
