#include "checkpoint/box_overlap.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "checkpoint/checkpoint_cases.h"

namespace conclave {
namespace {

std::vector<const Box*> pointers(const std::vector<Box>& boxes) {
  std::vector<const Box*> out;
  for (const Box& box : boxes) out.push_back(&box);
  return out;
}

TEST(BoxOverlap, Intersections) {
  const Box a{{0, 2}, {4, 4}}, b{{3, 5}, {4, 4}};
  EXPECT_EQ(intersection(a, b), (Box{{3, 5}, {1, 1}}));
  EXPECT_FALSE(intersection(a, Box{{4, 2}, {1, 1}}));
  EXPECT_FALSE(intersection(a, Box{{0, 2}, {0, 4}}));
  EXPECT_EQ(intersection(Box{}, Box{}), Box{});
  EXPECT_EQ(box_text(b), "[3:7, 5:9]");
  EXPECT_TRUE(box_fits(a, {4, 6}));
  EXPECT_FALSE(box_fits(a, {4, 5}));
  EXPECT_FALSE(box_fits(a, {4, 6, 1}));
  EXPECT_FALSE(box_fits(Box{{-1}, {1}}, {4}));
  EXPECT_FALSE(box_fits(Box{{INT64_MAX}, {INT64_MAX}}, {4}));
}

// Every element of the overlap is copied once, to where global_index says it belongs.
TEST(BoxOverlap, RunsMeetTheGlobalOrder) {
  std::mt19937 random(1);
  const auto below = [&](int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random); };
  for (int round = 0; round < 300; ++round) {
    std::vector<int64_t> shape;
    for (int64_t axis = below(4); axis >= 0; --axis) shape.push_back(1 + below(5));
    const auto random_box = [&] {
      Box box;
      for (const int64_t size : shape) {
        box.begin.push_back(below(size));
        box.size.push_back(1 + below(size - box.begin.back()));
      }
      return box;
    };
    const Box source = random_box(), destination = random_box();
    const auto shared = intersection(source, destination);
    if (!shared) continue;
    const ShardSpec from{shape, {source}}, to{shape, {destination}};
    int64_t count = 0, last = -1;
    for_each_run(source, destination, *shared, [&](const CopyRun& run) {
      EXPECT_GT(run.source, last);
      last = run.source;
      for (int64_t i = 0; i < run.count; ++i, ++count)
        ASSERT_EQ(from.global_index(run.source + i), to.global_index(run.destination + i));
    });
    EXPECT_EQ(count, shared->element_count());
  }
}

TEST(BoxOverlap, WholeBoxesAreOneRun) {
  const Box box{{2, 0, 0}, {3, 4, 5}};
  int runs = 0;
  for_each_run(box, box, box, [&](const CopyRun& run) {
    ++runs;
    EXPECT_EQ(run.count, 60);
  });
  EXPECT_EQ(runs, 1);
}

TEST(BoxOverlap, TilingFaultsAreNamed) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    const std::vector<int64_t> shape = {5, 4, 3};
    std::vector<Box> boxes = cases::random_split(shape, 1, random)[0].boxes;
    EXPECT_EQ(tiling_fault(shape, pointers(boxes)), "");
    std::vector<Box> doubled = boxes;
    doubled.push_back(boxes[boxes.size() / 2]);
    EXPECT_NE(tiling_fault(shape, pointers(doubled)).find("overlap"), std::string::npos);
    const int64_t gone = boxes.back().element_count();
    boxes.pop_back();
    EXPECT_EQ(tiling_fault(shape, pointers(boxes)), fmt::format("{} of its 60 elements are stored nowhere", gone));
  }
  EXPECT_EQ(tiling_fault({}, {}), "1 of its 1 elements are stored nowhere");
  EXPECT_EQ(tiling_fault({0, 3}, {}), "");
}

}  // namespace
}  // namespace conclave
