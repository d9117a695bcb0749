#include "data/tokenizer/word_cache.h"

#include "base/hash.h"

namespace conclave {

WordCache::Place WordCache::find(std::string_view word) const {
  const uint64_t hash = hash64(word);
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].length != 0) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && std::string_view(texts_.data() + slot.text, slot.length) == word) return {hash, at, true};
    at = (at + 1) & mask;
  }
  return {hash, at, false};
}

void WordCache::insert(const Place& place, std::string_view word, std::span<const int32_t> ids) {
  if (word.empty() || word.size() > kMaxWord || ids.size() > kMaxWord * 4) return;
  size_t at = place.slot;
  if ((used_ + 1) * 2 > slots_.size()) {
    grow();
    at = find(word).slot;
  }
  slots_[at] = {place.hash, static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(ids_.size()),
                static_cast<uint32_t>(word.size()), static_cast<uint32_t>(ids.size())};
  ++used_;
  texts_ += word;
  ids_.insert(ids_.end(), ids.begin(), ids.end());
}

void WordCache::grow() {
  if (used_ >= kMaxWords) {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    used_ = 0;
    texts_.clear();
    ids_.clear();
    return;
  }
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.length == 0) continue;
    size_t at = slot.hash & mask;
    while (slots_[at].length != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

}  // namespace conclave
