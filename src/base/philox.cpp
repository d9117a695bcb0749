#include "base/philox.h"

#include <cmath>
#include <numbers>

#include "base/hash.h"

namespace conclave {

RandomStream::RandomStream(uint64_t seed, std::string_view name, uint64_t ordinal)
    : key_(hash64(name, seed)), ordinal_(ordinal) {}

float RandomStream::normal(uint64_t index) const {
  // One block gives two pairs, so four elements; the high counter word's top bit keeps these apart from bits().
  const auto block = philox4x32(key_, index >> 2, ordinal_ | (uint64_t{1} << 63));
  const size_t pair = (index & 2);
  const double u = (static_cast<double>(block[pair]) + 0.5) * 0x1p-32;
  const double v = static_cast<double>(block[pair + 1]) * 0x1p-32;
  const double radius = std::sqrt(-2.0 * std::log(u));
  const double angle = 2.0 * std::numbers::pi * v;
  return static_cast<float>(radius * ((index & 1) == 0 ? std::cos(angle) : std::sin(angle)));
}

}  // namespace conclave
