#include "optim/bucket_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace conclave {
namespace {

std::vector<int64_t> lengths(const Bucket& bucket) {
  std::vector<int64_t> out;
  for (size_t i = 0; i + 1 < bucket.cuts.size(); ++i) out.push_back(bucket.cuts[i + 1] - bucket.cuts[i]);
  return out;
}

TEST(BucketPlan, ClosesOnceFull) {
  const BucketPlan plan = plan_buckets({{100, 1}, {28, 1}, {1, 1}, {640, 1}, {64, 1}}, 5, 256, 1);
  EXPECT_EQ(plan.begins, (std::vector<int64_t>{0, 128, 192, 256, 896}));
  ASSERT_EQ(plan.buckets.size(), 3u);
  EXPECT_EQ(plan.buckets[0].end, 256);
  EXPECT_EQ(plan.buckets[1].end, 896);
  EXPECT_EQ(plan.buckets[2].end, 960);
  EXPECT_EQ(plan.buckets[1].first, 3u);
  EXPECT_EQ(plan.buckets[1].last, 4u);
  EXPECT_EQ(plan.elements, 960);
}

TEST(BucketPlan, SplitBeginsANewBucket) {
  const BucketPlan plan = plan_buckets({{64, 1}, {64, 1}, {64, 1}}, 1, 1 << 20, 2);
  ASSERT_EQ(plan.buckets.size(), 2u);
  EXPECT_EQ(plan.buckets[0].last, 1u);
  EXPECT_EQ(plan_buckets({{64, 1}, {64, 1}}, 0, 1 << 20, 2).buckets.size(), 1u);
  EXPECT_TRUE(plan_buckets({}, 0, 100, 3).buckets.empty());
}

TEST(BucketPlan, UnevenAndEmptyPieces) {
  EXPECT_EQ(lengths(plan_buckets({{64 * 7, 1}}, 1, 1, 3).buckets[0]), (std::vector<int64_t>{128, 128, 192}));
  EXPECT_EQ(lengths(plan_buckets({{5, 1}}, 1, 1, 3).buckets[0]), (std::vector<int64_t>{0, 0, 64}));
}

TEST(BucketPlan, MatricesStayWhole) {
  // Three experts of 70 x 3, a vector, a matrix of 1000.
  const std::vector<PlannedParameter> parameters = {{630, 210}, {200, 1}, {1000, 1000}};
  const Bucket bucket = plan_buckets(parameters, 3, 1 << 20, 4).buckets[0];
  EXPECT_EQ(bucket.cuts, (std::vector<int64_t>{0, 420, 896, 896, 1920}));
}

TEST(BucketPlan, AnySizes) {
  std::mt19937 random(3);
  const auto below = [&](int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random); };
  for (int round = 0; round < 300; ++round) {
    std::vector<PlannedParameter> parameters;
    int64_t largest = 64;
    for (int64_t i = below(12); i >= 0; --i) {
      const int64_t unit = below(2) == 0 ? 1 : 1 + below(300);
      parameters.push_back({unit * below(unit == 1 ? 2000 : 5), unit});
      largest = std::max(largest, unit);
    }
    const int64_t ranks = 1 + below(7);
    const BucketPlan plan = plan_buckets(parameters, static_cast<size_t>(below(5)), 1 + below(3000), ranks);
    size_t next = 0;
    for (const Bucket& bucket : plan.buckets) {
      EXPECT_EQ(bucket.first, next);
      next = bucket.last;
      ASSERT_EQ(bucket.cuts.size(), static_cast<size_t>(ranks) + 1);
      EXPECT_EQ(bucket.cuts.front(), bucket.begin);
      EXPECT_EQ(bucket.cuts.back(), bucket.end);
      for (size_t i = 1; i + 1 < bucket.cuts.size(); ++i) {
        const int64_t cut = bucket.cuts[i];
        EXPECT_GE(cut, bucket.cuts[i - 1]);
        const int64_t even = bucket.begin + bucket.length() * static_cast<int64_t>(i) / ranks;
        EXPECT_LE(std::abs(cut - even), largest + 64);
        for (size_t slot = bucket.first; slot < bucket.last; ++slot) {
          const int64_t inside = cut - plan.begins[slot];
          if (inside <= 0 || inside >= parameters[slot].count) continue;
          EXPECT_EQ(inside % (parameters[slot].unit > 1 ? parameters[slot].unit : 64), 0);
        }
      }
    }
    EXPECT_EQ(next, parameters.size());
  }
}

TEST(UnitElements, MatricesByRole) {
  ParameterSpec spec;
  spec.shard = ShardSpec::whole({6, 20, 24});
  spec.local_shape = {2, 10, 24};
  spec.role = ParameterRole::kExpertMatrices;
  EXPECT_EQ(unit_elements(spec, ShardUnit::kMatrices), 240);
  EXPECT_EQ(unit_elements(spec, ShardUnit::kElements), 1);
  spec.role = ParameterRole::kEmbedding;
  EXPECT_EQ(unit_elements(spec, ShardUnit::kMatrices), 1);
}

TEST(BucketPlan, DefaultSize) {
  EXPECT_EQ(default_bucket_elements(8), 40'000'000);
  EXPECT_EQ(default_bucket_elements(64), 64'000'000);
}

}  // namespace
}  // namespace conclave
