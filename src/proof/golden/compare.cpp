#include "proof/golden/compare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"

namespace conclave::proof {

std::string off_by(const std::string& name, std::span<const float> want, std::span<const float> got, double tolerance) {
  if (want.size() != got.size())
    return fmt::format("{}: {} values wanted, {} are there", name, want.size(), got.size());
  double largest = 0;
  for (const float value : want) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  const double allowed = largest > 0 ? tolerance * largest : 1e-6;
  double worst = -1;
  size_t worst_at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (difference <= worst) continue;
    worst_at = i;
    worst = difference;
    if (std::isnan(difference)) break;
  }
  if (want.empty() || worst <= allowed) return "";
  return fmt::format("{}[{}]: want {:.9g}, got {:.9g}; off by {:.2e} of the largest value, {:.0e} allowed", name,
                     worst_at, want[worst_at], got[worst_at], largest > 0 ? worst / largest : worst, tolerance);
}

std::vector<std::string> case_stems(const std::string& folder) {
  std::vector<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::filesystem::path other = entry.path();
    if (other.extension() != ".json") continue;
    if (std::filesystem::exists(other.replace_extension(".safetensors"))) stems.push_back(entry.path().stem().string());
  }
  std::sort(stems.begin(), stems.end());
  return stems;
}

}  // namespace conclave::proof
