// The table of layouts that have to train the model of one process.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "config/parse.h"

namespace conclave::proof {

using Words = std::vector<std::string>;

inline constexpr int64_t kLayoutVocab = 96;  ///< of every case
inline constexpr int64_t kLayoutSteps = 5;

struct LayoutCase {
  std::string name;
  int64_t ranks = 1;
  Words words;         ///< the layout
  Words model = {};    ///< what the model has besides
  bool dense = false;  ///< without experts
  bool bf16 = false;
};

inline void operator<<(std::ostream& out, const LayoutCase& layout) { out << layout.name; }

const std::vector<LayoutCase>& layout_cases();
/// Those of the table that were chosen so that it has every pair of features that can meet: many at once, so that they
/// are few.
const std::vector<LayoutCase>& covering_layout_cases();

/// All words of a case: a small model with dropout everywhere, and what the case adds.
Words words_of(const LayoutCase& layout);
/// The same, parsed, with the number of ranks.
ParsedOptions parsed_case(const LayoutCase& layout);

}  // namespace conclave::proof
