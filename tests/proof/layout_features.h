// What is special about a layout and its model, derived from resolved options: of each pair of these that can meet,
// some case of the table has both.
#pragma once

#include <string>
#include <vector>

#include "config/options.h"
#include "proof/layout_cases.h"

namespace conclave::proof {

struct LayoutFeature {
  const char* name;
  bool (*holds)(const Options& resolved);
  /// A way to get it: words, as those of a LayoutCase, beside the small model.
  Words words;
  bool dense = false;
};

const std::vector<LayoutFeature>& layout_features();

/// Names of those that hold.
std::vector<std::string> features_of(const Options& resolved);

}  // namespace conclave::proof
