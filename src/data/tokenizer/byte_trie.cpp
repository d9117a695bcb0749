#include "data/tokenizer/byte_trie.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {
namespace {

// Keys first..last of the sorted list share their first `depth` bytes, which lead to `node`.
struct Range {
  size_t first, last;
  size_t depth;
  int32_t node;
};

using Entries = std::vector<std::pair<std::string_view, int32_t>>;

}  // namespace

// Lays out one node after the other.
class ByteTrie::Builder {
 public:
  Builder(std::vector<Unit>& units, const Entries& entries) : units_(units), entries_(entries) {
    units_.resize(1024);
    units_[kRoot].owner = kRoot;  // taken; the root is nobody's child because children lie at base + 1 or later
    std::vector<Range> open{{0, entries.size(), 0, kRoot}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      collect_children(range);
      if (!children_.empty()) place_children(range, open);
    }
    // step() may look up to 256 units beyond any base.
    size_t end = units_.size();
    while (units_[end - 1].owner == kNone) --end;
    units_.resize(end + 257);
    units_.shrink_to_fit();
  }

 private:
  struct Child {
    size_t label;  ///< byte + 1
    size_t first;  ///< first entry
  };
  std::vector<Unit>& units_;
  const Entries& entries_;
  std::vector<Child> children_;
  size_t search_from_ = 1;

  void collect_children(const Range& range) {
    size_t i = range.first;
    if (entries_[i].first.size() == range.depth) {
      CONCLAVE_CHECK(range.depth > 0, "empty key in a trie");
      units_[static_cast<size_t>(range.node)].value = entries_[i].second;
      ++i;
    }
    children_.clear();
    for (; i < range.last; ++i) {
      CONCLAVE_CHECK(entries_[i].first.size() > range.depth, "key '{}' is twice in a trie", entries_[i].first);
      const size_t label = size_t{static_cast<unsigned char>(entries_[i].first[range.depth])} + 1;
      if (children_.empty() || children_.back().label != label) children_.push_back({label, i});
    }
  }

  void place_children(const Range& range, std::vector<Range>& open) {
    const size_t base = find_base();
    CONCLAVE_USER_CHECK(units_.size() < (size_t{1} << 30), "the vocabulary is too large");
    units_[static_cast<size_t>(range.node)].base = static_cast<int32_t>(base);
    for (size_t c = 0; c < children_.size(); ++c) {
      const size_t unit = base + children_[c].label;
      units_[unit].owner = range.node;
      const size_t last = c + 1 < children_.size() ? children_[c + 1].first : range.last;
      open.push_back({children_[c].first, last, range.depth + 1, static_cast<int32_t>(unit)});
    }
  }

  // First fit. Where the array is nearly full the search starts later next time, so that building stays linear.
  size_t find_base() {
    size_t at = std::max(search_from_, children_[0].label), taken = 0;
    for (const size_t start = at;; ++at) {
      if (at + 257 >= units_.size()) units_.resize(units_.size() * 2);
      if (units_[at].owner != kNone) {
        ++taken;
        continue;
      }
      const size_t base = at - children_[0].label;
      const bool fits = std::all_of(children_.begin(), children_.end(),
                                    [&](const Child& child) { return units_[base + child.label].owner == kNone; });
      if (!fits) continue;
      const size_t seen = at - start;
      if (seen > 64 && taken * 20 >= seen * 19) search_from_ = at;
      if (seen > 4096) search_from_ += 1024;
      return base;
    }
  }
};

ByteTrie::ByteTrie(Entries entries) {
  if (entries.empty()) return;
  std::sort(entries.begin(), entries.end());
  Builder(units_, entries);
}

ByteTrie::Match ByteTrie::longest(std::string_view text) const {
  Match match;
  if (empty()) return match;
  int32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    node = step(node, static_cast<unsigned char>(text[i]));
    if (node == kNone) break;
    if (value(node) != kNone) match = {i + 1, value(node)};
  }
  return match;
}

}  // namespace conclave
