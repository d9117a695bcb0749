// Rotary frequencies and their scalings.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "spec/model_spec.h"

namespace conclave {
namespace {

double llama3_scaled(double frequency, const RopeSpec& rope) {
  const auto length = static_cast<double>(rope.original_length);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < length / rope.high_frequency) return frequency;
  if (wavelength > length / rope.low_frequency) return frequency / rope.factor;
  const double smooth = (length / wavelength - rope.low_frequency) / (rope.high_frequency - rope.low_frequency);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

/// The element that turns `rotations` times over the original length.
double yarn_element(double rotations, const RopeSpec& rope) {
  const double length = static_cast<double>(rope.original_length) / (rotations * 2 * std::numbers::pi);
  return static_cast<double>(rope.rotated) * std::log(length) / (2 * std::log(rope.base));
}

/// Share of interpolation of pair i: 0 below the fast bound, 1 above the slow one.
double yarn_ramp(int64_t pair, const RopeSpec& rope) {
  double low = yarn_element(rope.beta_fast, rope), high = yarn_element(rope.beta_slow, rope);
  if (rope.whole_bounds) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(rope.rotated - 1));
  if (low == high) high += 0.001;
  return std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

double yarn_mscale(double factor, double scale) { return factor > 1 ? 0.1 * scale * std::log(factor) + 1 : 1; }

std::vector<float> RopeSpec::frequencies() const {
  std::vector<float> out;
  for (int64_t i = 0; i < rotated / 2; ++i) {
    double frequency = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotated));
    if (scaling == RopeScaling::kLlama3) frequency = llama3_scaled(frequency, *this);
    if (scaling == RopeScaling::kYarn) {
      const double ramp = yarn_ramp(i, *this);
      frequency = frequency / factor * ramp + frequency * (1 - ramp);
    }
    out.push_back(static_cast<float>(frequency / interpolation));
  }
  return out;
}

}  // namespace conclave
