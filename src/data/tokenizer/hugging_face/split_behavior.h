// What becomes of the matches of a splitting pattern.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace conclave::hugging_face {

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Throws UserError naming an unknown one.
SplitBehavior split_behavior(const std::string& name);

/// A stretch of a text that is a match or lies between matches. The stretches of a text cover it without gaps.
struct Stretch {
  size_t begin, end;
  bool match;
};

/// Turns stretches into the pieces that `behavior` makes of them (`match` has no meaning there).
void merge_stretches(SplitBehavior behavior, std::vector<Stretch>& stretches);

}  // namespace conclave::hugging_face
