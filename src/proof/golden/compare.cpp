#include "proof/golden/compare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"

namespace conclave::proof {
namespace {

std::string place_of(const std::vector<int64_t>& shape, size_t flat) {
  if (shape.empty()) return fmt::format("[{}]", flat);
  std::string out;
  auto rest = static_cast<int64_t>(flat);
  for (size_t axis = shape.size(); axis-- > 0;) {
    out = fmt::format("{}{}{}", rest % shape[axis], out.empty() ? "" : ", ", out);
    rest /= shape[axis];
  }
  return "[" + out + "]";
}

}  // namespace

std::string off_by(const std::string& name, std::span<const double> want, std::span<const double> got,
                   const Closeness& allowed) {
  if (want.size() != got.size())
    return fmt::format("{}: {} values wanted, {} are there", name, want.size(), got.size());
  double largest = 0;
  for (const double value : want) largest = std::max(largest, std::fabs(value));
  const bool zero = largest <= allowed.zero_up_to;
  const double limit = zero ? 1e-6 : allowed.relative * largest;
  double worst = -1;
  size_t worst_at = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = std::fabs(got[i] - want[i]);
    if (difference <= worst) continue;
    worst_at = i;
    worst = difference;
    if (std::isnan(difference)) break;
  }
  if (want.empty() || worst <= limit) return "";
  return fmt::format("{}{}: want {:.9g}, got {:.9g}; off by {:.2e}{}, {:.0e} allowed", name,
                     place_of(allowed.shape, worst_at), want[worst_at], got[worst_at], zero ? worst : worst / largest,
                     zero ? "" : " of the largest value", zero ? limit : allowed.relative);
}

std::string off_by(const std::string& name, std::span<const float> want, std::span<const float> got,
                   const Closeness& allowed) {
  const std::vector<double> wanted(want.begin(), want.end()), given(got.begin(), got.end());
  return off_by(name, std::span(wanted), std::span(given), allowed);
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
