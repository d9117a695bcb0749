// Reads covering_layouts.txt.
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "proof/layout_cases.h"

namespace conclave::proof {

const std::vector<LayoutCase>& covering_layout_cases() {
  static const std::vector<LayoutCase> cases = [] {
    std::vector<LayoutCase> read;
    for (const std::string& line : split(read_file(CONCLAVE_SOURCE_DIR "/tests/proof/covering_layouts.txt"), '\n')) {
      if (line.empty() || line[0] == '#') continue;
      const std::vector<std::string> parts = split(line, ';');
      const Words head = split_words(parts.at(0));
      read.push_back({.name = head.at(0),
                      .ranks = std::stoll(head.at(1)),
                      .words = split_words(parts.at(1)),
                      .model = split_words(parts.at(2)),
                      .dense = head.at(2) == "dense"});
    }
    return read;
  }();
  return cases;
}

}  // namespace conclave::proof
