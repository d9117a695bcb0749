#include "data/tokenizer/hugging_face/split_behavior.h"

#include <algorithm>

#include "base/error.h"

namespace conclave::hugging_face {
namespace {

// Joins each stretch to the one before it where `joins(match, previous_match)` says so.
template <typename Rule>
void fold(std::vector<Stretch>& stretches, Rule&& joins) {
  size_t count = 0;
  bool previous = false;
  for (const Stretch stretch : stretches) {
    if (count > 0 && joins(stretch.match, previous)) {
      stretches[count - 1].begin = std::min(stretches[count - 1].begin, stretch.begin);
      stretches[count - 1].end = std::max(stretches[count - 1].end, stretch.end);
    } else {
      stretches[count++] = stretch;
    }
    previous = stretch.match;
  }
  stretches.resize(count);
}

bool match_after_other(bool match, bool previous) { return match && !previous; }

}  // namespace

SplitBehavior split_behavior(const std::string& name) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  throw_user(
      fmt::format("split behavior '{}' is not supported; known are Removed, Isolated, MergedWithPrevious, "
                  "MergedWithNext, Contiguous",
                  name.substr(0, 60)));
}

void merge_stretches(SplitBehavior behavior, std::vector<Stretch>& stretches) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      std::erase_if(stretches, [](const Stretch& stretch) { return stretch.match; });
      return;
    case SplitBehavior::kContiguous:
      fold(stretches, [](bool match, bool previous) { return match == previous; });
      return;
    case SplitBehavior::kMergedWithPrevious:
      fold(stretches, match_after_other);
      return;
    case SplitBehavior::kMergedWithNext:
      std::reverse(stretches.begin(), stretches.end());
      fold(stretches, match_after_other);
      std::reverse(stretches.begin(), stretches.end());
      return;
  }
}

}  // namespace conclave::hugging_face
