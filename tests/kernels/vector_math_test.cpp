// The vector functions against the standard library in double.
#include "kernels/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace conclave::kernels::cpu {
namespace {

// Largest relative error of `function` over [low, high] in steps of `step`.
double worst_error(VecF (*function)(VecF), const std::function<double(double)>& truth, float low, float high,
                   float step) {
  double worst = 0;
  for (float start = low; start < high; start += step * 16) {
    VecF x;
    for (int i = 0; i < 16; ++i) x[i] = start + step * static_cast<float>(i);
    const VecF got = function(x);
    for (int i = 0; i < 16; ++i) {
      const double want = truth(static_cast<double>(x[i]));
      const double error = std::fabs(static_cast<double>(got[i]) - want) / std::fabs(want);
      if (!(error <= worst)) worst = error;  // NaN gets through
    }
  }
  return worst;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(VectorMath, Exponentials) {
  EXPECT_LT(worst_error(
                &exp, [](double x) { return std::exp(x); }, -87.2f, 88.3f, 1.3e-4f),
            2e-7);
  EXPECT_LT(worst_error(
                &exp2, [](double x) { return std::exp2(x); }, -125.4f, 127.9f, 1.3e-4f),
            2e-7);
  EXPECT_LT(worst_error(
                &sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -85.0f, 85.0f, 1.3e-4f),
            4e-7);
}

TEST(VectorMath, ShortExponential) {
  EXPECT_LT(worst_error(
                &exp2_below_127, [](double x) { return std::exp2(x); }, -125.9f, 126.9f, 1.3e-4f),
            3e-7);
  EXPECT_EQ(exp2_below_127(broadcast(0.0f))[3], 1.0f);
  for (const float low : {-127.0f, -1e30f, -kInfinity}) EXPECT_EQ(exp2_below_127(broadcast(low))[9], 0.0f);
  EXPECT_TRUE(std::isnan(exp2_below_127(broadcast(std::nanf("")))[2]));
}

TEST(VectorMath, ExponentialsAtTheEnds) {
  for (VecF (*function)(VecF) : {&exp, &exp2}) {
    EXPECT_EQ(function(broadcast(0.0f))[3], 1.0f);
    EXPECT_EQ(function(broadcast(-kInfinity))[0], 0.0f);
    EXPECT_EQ(function(broadcast(-1e30f))[15], 0.0f);
    EXPECT_EQ(function(broadcast(-126.0f))[15], 0.0f);
    EXPECT_EQ(function(broadcast(1e30f))[0], kInfinity);
    EXPECT_EQ(function(broadcast(128.0f))[0], kInfinity);
    EXPECT_EQ(function(broadcast(kInfinity))[7], kInfinity);
    EXPECT_TRUE(std::isnan(function(broadcast(std::nanf("")))[2]));
  }
}

TEST(VectorMath, SineAndCosine) {
  for (const float start : {-1e6f, -3000.0f, -10.0f, 0.0f, 5000.0f, 999000.0f}) {
    for (int block = 0; block < 2000; ++block) {
      VecF x;
      for (int i = 0; i < 16; ++i) x[i] = start + 0.01f * static_cast<float>(16 * block + i);
      const SineCosine got = sine_cosine(x);
      for (int i = 0; i < 16; ++i) {
        ASSERT_NEAR(static_cast<double>(got.sine[i]), std::sin(static_cast<double>(x[i])), 1e-7) << x[i];
        ASSERT_NEAR(static_cast<double>(got.cosine[i]), std::cos(static_cast<double>(x[i])), 1e-7) << x[i];
      }
    }
  }
}

TEST(VectorMath, NormalCurve) {
  const auto cumulative = [](VecF x) { return normal_curve(x).cumulative; };
  const auto density = [](VecF x) { return normal_curve(x).density; };
  EXPECT_LT(worst_error(
                cumulative, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }, -13.0f, 13.0f, 1.1e-4f),
            1e-6);
  EXPECT_LT(worst_error(
                density, [](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); }, -13.0f, 13.0f, 1.1e-4f),
            1e-6);
  EXPECT_EQ(cumulative(broadcast(-kInfinity))[0], 0.0f);
  EXPECT_EQ(cumulative(broadcast(50.0f))[0], 1.0f);
  EXPECT_TRUE(std::isnan(cumulative(broadcast(std::nanf("")))[2]));
}

TEST(Vector, BF16RoundsAsTheScalarDoes) {
  std::vector<float> list = {0.0f,  -0.0f,   1.0f,   1.00390625f, 1.01171875f, kInfinity, -kInfinity, std::nanf(""),
                             3e38f, 3.4e38f, 1e-40f, -1.5f,       1e-3f,       7.0f,      255.5f,     256.5f};
  BF16 got[16];
  store(got, load(list.data()));
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(got[i].bits, to_bf16(list[i]).bits) << list[i];
  const VecF back = load(got);
  for (size_t i = 0; i < 16; ++i) {
    if (std::isnan(list[i])) continue;
    EXPECT_EQ(back[static_cast<int>(i)], to_float(got[i]));
  }
}

TEST(Vector, LanesAndParts) {
  VecF x;
  for (int i = 0; i < 16; ++i) x[i] = static_cast<float>((i * 7) % 16) - 4.0f;
  EXPECT_EQ(sum_lanes(x), 120.0f - 64.0f);
  EXPECT_EQ(maximum_lane(x), 11.0f);
  EXPECT_TRUE(std::signbit(broadcast(-0.0f)[5]));
  float out[5] = {9, 9, 9, 9, 9};
  store_first(out + 1, x, 3);
  EXPECT_EQ(out[0], 9.0f);
  EXPECT_EQ(out[1], -4.0f);
  EXPECT_EQ(out[3], 10.0f);
  EXPECT_EQ(out[4], 9.0f);
  const VecF part = load_first(out + 1, 2);
  EXPECT_EQ(part[1], 3.0f);
  EXPECT_EQ(part[2], 0.0f);
}

}  // namespace
}  // namespace conclave::kernels::cpu
