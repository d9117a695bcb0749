// Comparing with golden values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace conclave::proof {

struct Closeness {
  double relative = 0;              ///< of the largest |want|
  double zero_up_to = 0;            ///< a tensor with no larger magnitude counts as zero: within 1e-6
  std::vector<int64_t> shape = {};  ///< to name elements by their place; empty: by their number
};

/// Empty if every |got - want| is within what is allowed (NaN never is); else the element that is off most: "NAME[2,
/// 7]: want x, got y; off by ... of the largest value".
std::string off_by(const std::string& name, std::span<const double> want, std::span<const double> got,
                   const Closeness& allowed);
std::string off_by(const std::string& name, std::span<const float> want, std::span<const float> got,
                   const Closeness& allowed);

/// Names NAME for which both NAME.json and NAME.safetensors are in the folder, sorted; loose files are ignored.
std::vector<std::string> case_stems(const std::string& folder);

}  // namespace conclave::proof
