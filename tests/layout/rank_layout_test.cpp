#include "layout/rank_layout.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace conclave {
namespace {

constexpr GroupKind kAllKinds[] = {GroupKind::kTensor,
                                   GroupKind::kContext,
                                   GroupKind::kData,
                                   GroupKind::kDataContext,
                                   GroupKind::kPipeline,
                                   GroupKind::kTensorPipeline,
                                   GroupKind::kTensorData,
                                   GroupKind::kTensorContext,
                                   GroupKind::kTensorDataContext,
                                   GroupKind::kExpert,
                                   GroupKind::kExpertTensor,
                                   GroupKind::kExpertTensorExpert,
                                   GroupKind::kExpertTensorExpertPipeline,
                                   GroupKind::kExpertData,
                                   GroupKind::kDataContextOfInstance,
                                   GroupKind::kExpertDataOfInstance,
                                   GroupKind::kExpertDataAcrossInstances,
                                   GroupKind::kInstance};

TEST(RankLayout, GroupsOfAKindShareOutTheWorld) {
  for (const char* order : {"tp-cp-ep-dp-pp", "dp-cp-ep-tp-pp"}) {
    LayoutSizes sizes;
    sizes.world = 96;
    sizes.tensor = 2;
    sizes.context = 2;
    sizes.pipeline = 3;
    sizes.expert = 4;
    sizes.expert_tensor = 1;
    sizes.optimizer_instances = 2;
    sizes.order = order;
    const RankLayout layout(sizes);
    for (const GroupKind kind : kAllKinds) {
      std::set<int64_t> seen;
      for (int64_t i = 0; i < layout.group_count(kind); ++i) {
        const auto ranks = layout.group(kind, i);
        ASSERT_EQ(static_cast<int64_t>(ranks.size()), layout.group_size(kind));
        for (size_t j = 0; j < ranks.size(); ++j) {
          EXPECT_TRUE(seen.insert(ranks[j]).second);
          EXPECT_EQ(layout.place(kind, ranks[j]), (GroupPlace{i, static_cast<int64_t>(j)}));
        }
      }
      EXPECT_EQ(seen.size(), 96u);
    }
  }
}

TEST(RankLayout, FoldingLetsExpertsSpanContextRanks) {
  LayoutSizes sizes;
  sizes.world = 8;
  sizes.context = 8;
  sizes.expert = 8;
  const RankLayout layout(sizes);
  EXPECT_EQ(layout.data_size(), 1);
  EXPECT_EQ(layout.expert_data_size(), 1);
  EXPECT_EQ(layout.group(GroupKind::kContext, 0), layout.group(GroupKind::kExpert, 0));
  EXPECT_EQ(layout.expert(5).expert, 5);
  EXPECT_EQ(layout.dense(5).context, 5);
}

TEST(RankLayout, EmbeddingGroupsHoldTheEndsOfAPipeline) {
  LayoutSizes sizes;
  sizes.world = 8;
  sizes.pipeline = 4;
  const RankLayout layout(sizes);
  EXPECT_EQ(layout.group(GroupKind::kEmbedding, 1), (std::vector<int64_t>{1, 7}));
  EXPECT_EQ(layout.group(GroupKind::kPositionEmbedding, 1), (std::vector<int64_t>{1}));
  EXPECT_EQ(layout.place(GroupKind::kEmbedding, 7), (GroupPlace{1, 1}));
  EXPECT_EQ(layout.place(GroupKind::kEmbedding, 3), std::nullopt);
  EXPECT_EQ(layout.place(GroupKind::kPositionEmbedding, 7), std::nullopt);
}

// A trillion ranks: only the asked-for group is computed.
TEST(RankLayout, CostsNoMoreThanTheGroup) {
  LayoutSizes sizes;
  sizes.world = int64_t{1} << 40;
  sizes.tensor = 8;
  sizes.pipeline = 16;
  sizes.expert = 64;
  sizes.expert_tensor = 1;
  const RankLayout layout(sizes);
  for (int64_t rank = 0; rank < sizes.world; rank += sizes.world / 1000 + 1) {
    const auto place = layout.place(GroupKind::kExpert, rank);
    ASSERT_TRUE(place.has_value());
    EXPECT_EQ(layout.group(GroupKind::kExpert, place->index).at(static_cast<size_t>(place->position)), rank);
  }
}

TEST(RankLayout, WhatDoesNotFitIsRefused) {
  const auto refused = [](auto change) {
    LayoutSizes sizes;
    sizes.world = 8;
    change(sizes);
    EXPECT_THROW(RankLayout{sizes}, UserError);
  };
  refused([](LayoutSizes& s) { s.tensor = 3; });
  refused([](LayoutSizes& s) { s.expert = 3; });
  refused([](LayoutSizes& s) { s.tensor = 0; });
  refused([](LayoutSizes& s) { s.optimizer_instances = 3; });
  refused([](LayoutSizes& s) { s.virtual_pipeline = 2; });
  refused([](LayoutSizes& s) { s.order = "tp-cp-ep-dp-pp-tp"; });
  refused([](LayoutSizes& s) { s.order = "tp-cp-ep-dp-xx"; });
  refused([](LayoutSizes& s) { s.order = ""; });
  refused([](LayoutSizes& s) {
    s.context = 2;
    s.order = "tp-ep-dp-pp";
  });
  refused([](LayoutSizes& s) {
    s.context = 4;
    s.hierarchical_context = {2, 4};
  });
}

TEST(RankLayout, FromOptions) {
  Options options;
  options.parallel.world_size = 16;
  options.parallel.tensor_model_parallel_size = 2;
  options.parallel.expert_tensor_parallel_size = 2;
  options.parallel.use_tp_pp_dp_mapping = true;
  const LayoutSizes sizes = layout_sizes(options);
  EXPECT_EQ(sizes.order, "tp-cp-ep-pp-dp");
  EXPECT_EQ(RankLayout(sizes).data_size(), 8);
}

TEST(RankLayout, ARankFindsItsGroupOfEachContextLevel) {
  const RankLayout layout({.world = 48, .tensor = 2, .context = 12, .hierarchical_context = {2, 3, 2}});
  for (int64_t level = 0; level < layout.context_level_count(); ++level) {
    int64_t members = 0;
    for (int64_t index = 0; index < layout.context_level_groups(level); ++index) {
      for (const int64_t rank : layout.context_level_group(level, index)) {
        EXPECT_EQ(layout.context_level_index(level, rank), index) << "rank " << rank << " at level " << level;
        ++members;
      }
    }
    EXPECT_EQ(members, 48);
  }
}

}  // namespace
}  // namespace conclave
