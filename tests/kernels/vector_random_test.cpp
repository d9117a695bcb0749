#include "kernels/cpu/vector_random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace conclave::kernels::cpu {
namespace {

const RandomStream& source() {
  static const RandomStream stream(1234, "decoder.layers.3.mlp.experts.linear_fc1.weight", 77);
  return stream;
}

// Runs that start and end anywhere, also where the block number passes 32 bits.
constexpr uint64_t kFirsts[] = {0, 1, 63, 64, 1000, (uint64_t{1} << 34) - 30, uint64_t{1} << 40};
constexpr int64_t kCounts[] = {0, 1, 5, 64, 129, 300};

TEST(VectorRandom, UniformsAreTheStreamsOwnBits) {
  for (const uint64_t first : kFirsts) {
    for (const int64_t count : kCounts) {
      std::vector<float> got(static_cast<size_t>(count) + 1, -1.0f);
      uniform_run(source(), first, count, got.data());
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(got[static_cast<size_t>(i)], source().uniform(first + static_cast<uint64_t>(i))) << first << "+" << i;
      EXPECT_EQ(got.back(), -1.0f);
    }
  }
}

TEST(VectorRandom, NormalsAreTheStreamsWithinOneUnit) {
  for (const uint64_t first : kFirsts) {
    for (const int64_t count : kCounts) {
      std::vector<float> got(static_cast<size_t>(count) + 1, -1.0f);
      normal_run(source(), first, count, got.data());
      for (int64_t i = 0; i < count; ++i) {
        const float want = source().normal(first + static_cast<uint64_t>(i));
        ASSERT_LE(std::fabs(got[static_cast<size_t>(i)] - want), std::fabs(want) * 0x1p-23f + 1e-12f)
            << first << "+" << i;
      }
      EXPECT_EQ(got.back(), -1.0f);
    }
  }
}

TEST(VectorRandom, HowARangeIsCutChangesNoBit) {
  std::vector<float> whole(1000), parts(1000);
  normal_run(source(), 17, 1000, whole.data());
  for (int64_t begin = 0, length = 1; begin < 1000; begin += length, length = 1 + (length * 7) % 90)
    normal_run(source(), 17 + static_cast<uint64_t>(begin), std::min(length, 1000 - begin), parts.data() + begin);
  EXPECT_EQ(whole, parts);
}

TEST(VectorRandom, NormalsHaveTheMomentsOfTheNormalDistribution) {
  constexpr int64_t kCount = 1 << 20;
  std::vector<float> x(kCount);
  normal_run(source(), 0, kCount, x.data());
  double sums[4] = {};
  for (const float value : x)
    for (int power = 0; power < 4; ++power) sums[power] += std::pow(static_cast<double>(value), power + 1) / kCount;
  EXPECT_NEAR(sums[0], 0, 5e-3);
  EXPECT_NEAR(sums[1], 1, 7e-3);
  EXPECT_NEAR(sums[2], 0, 2e-2);
  EXPECT_NEAR(sums[3], 3, 5e-2);
}

}  // namespace
}  // namespace conclave::kernels::cpu
