#include "checkpoint/difference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/part_writer.h"

namespace conclave {
namespace {

using Kind = TensorDifference::Kind;
using Values = std::vector<std::pair<std::string, std::vector<float>>>;

std::string write_values(const std::string& run_directory, int64_t iteration, const Values& tensors) {
  std::vector<CheckpointTensor> items;
  for (const auto& [name, values] : tensors) {
    items.push_back(CheckpointTensor::from_bytes(name, DType::kF32,
                                                 ShardSpec::whole({2, static_cast<int64_t>(values.size()) / 2}),
                                                 std::as_bytes(std::span<const float>(values))));
  }
  PartialDirectory partial(run_directory, iteration);
  Manifest manifest;
  manifest.iteration = iteration;
  manifest.ranks = {write_rank_part(partial.path(), 0, items, 1 << 30).entry};
  return partial.commit(manifest, {});
}

TEST(Difference, SplitsDoNotMatter) {
  const cases::TemporaryFolder folder, other;
  std::mt19937 random(1);
  const CheckpointReader a(cases::write_split(folder.path(), 3, 4, random));
  const CheckpointReader b(cases::write_whole(other.path(), 3));
  for (const TensorDifference& each : compare_checkpoints(a, b)) EXPECT_EQ(each.kind, Kind::kEqual) << each.name;
  const CheckpointReader c(cases::write_whole(other.path(), 4));
  for (const TensorDifference& each : compare_checkpoints(a, c))
    EXPECT_EQ(each.kind, each.name == "empty" ? Kind::kEqual : Kind::kValues) << each.name;
}

TEST(Difference, NamesWhatDiffers) {
  const cases::TemporaryFolder folder;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const CheckpointReader a(write_values(folder.path(), 1,
                                        {{"equal", {1, 2, kNan, 4}},
                                         {"gone", {1, 2}},
                                         {"nan", {1, 2, 3, 4}},
                                         {"shape", {1, 2, 3, 4}},
                                         {"values", {1, 2, 4, 5, 6, 7}}}));
  const CheckpointReader b(write_values(folder.path(), 2,
                                        {{"equal", {1, 2, kNan, 4}},
                                         {"nan", {1, kNan, 3, 4}},
                                         {"new", {1, 2}},
                                         {"shape", {1, 2}},
                                         {"values", {1, 2, 4, 5.5, 6, -7}}}));
  const auto all = compare_checkpoints(a, b);
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].kind, Kind::kEqual);
  EXPECT_EQ(all[1].kind, Kind::kOnlyInA);
  EXPECT_EQ(all[2].kind, Kind::kValues);
  EXPECT_TRUE(std::isinf(all[2].max_absolute));
  EXPECT_EQ(all[3].kind, Kind::kOnlyInB);
  EXPECT_EQ(all[4].kind, Kind::kShape);
  EXPECT_EQ(all[4].a + all[4].b, "[2, 2][2, 1]");
  EXPECT_EQ(all[5].kind, Kind::kValues);
  EXPECT_EQ(all[5].differing_elements, 2);
  EXPECT_EQ(all[5].max_absolute, 14);
  EXPECT_EQ(all[5].max_relative, 2);
  EXPECT_EQ(all[5].first_index, (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(all[5].first_a, 5);
  EXPECT_EQ(all[5].first_b, 5.5);
}

}  // namespace
}  // namespace conclave
