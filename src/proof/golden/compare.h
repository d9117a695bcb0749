// Comparing with golden values.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace conclave::proof {

/// Empty if every |got - want| <= tolerance * (largest |want|) (NaN never is); else "NAME[i]: want x, got y; off by ...
/// of the largest value". A tensor of zeros must be below 1e-6.
std::string off_by(const std::string& name, std::span<const float> want, std::span<const float> got, double tolerance);

/// Names NAME for which both NAME.json and NAME.safetensors are in the folder, sorted; loose files are ignored.
std::vector<std::string> case_stems(const std::string& folder);

}  // namespace conclave::proof
