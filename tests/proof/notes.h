// What golden reports say, for messages of tests.
#pragma once

#include <string>
#include <vector>

#include "proof/golden/golden.h"

namespace conclave::proof {

inline std::string notes(const std::vector<GoldenNote>& list) {
  std::string text;
  for (const GoldenNote& note : list) text += note.name + ": " + note.text + "\n";
  return text;
}

}  // namespace conclave::proof
