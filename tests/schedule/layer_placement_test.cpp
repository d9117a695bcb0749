#include "schedule/layer_placement.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace conclave {
namespace {

TEST(LayerPlacement, EveryLayerStandsOnceAndInOrder) {
  int placed = 0;
  for (int64_t layers = 1; layers <= 24; ++layers) {
    for (int64_t ranks = 1; ranks <= 6; ++ranks) {
      for (int64_t chunks = 1; chunks <= 4; ++chunks) {
        for (const bool counted : {false, true}) {
          PlacementArgs args;
          args.num_layers = layers;
          args.pipeline_size = ranks;
          args.virtual_size = chunks;
          args.count_embedding = args.count_loss = counted;
          args.mtp_num_layers = 2;
          LayerPlacement placement;
          try {
            placement = place_layers(args);
          } catch (const UserError&) {
            continue;
          }
          ++placed;
          int64_t next = 0;
          for (const StagePlacement& stage : placement.stages) {
            EXPECT_EQ(stage.first_layer, next);
            next += stage.layers;
          }
          EXPECT_EQ(next, layers);
          EXPECT_TRUE(placement.stages.front().embedding);
          EXPECT_TRUE(placement.stages.back().loss);
          EXPECT_EQ(placement.stages.back().mtp_layers, (std::vector<int64_t>{0, 1}));
        }
      }
    }
  }
  EXPECT_GT(placed, 100);
}

TEST(LayerPlacement, FirstAndLastCountsWithTwoRanksAndChunks) {
  PlacementArgs args;
  args.num_layers = 10;
  args.pipeline_size = 2;
  args.virtual_size = 2;
  args.first_layers = 4;
  args.last_layers = 6;
  const LayerPlacement placement = place_layers(args);
  EXPECT_EQ(placement.at(0, 0).layers, 2);
  EXPECT_EQ(placement.at(1, 0).layers, 3);
  EXPECT_EQ(placement.at(1, 1).first_layer, 7);
}

TEST(LayerPlacement, FromOptions) {
  Options options;
  options.model.num_layers = 8;
  options.parallel.pipeline_model_parallel_size = 2;
  options.parallel.num_layers_per_virtual_pipeline_stage = 2;
  EXPECT_EQ(place_layers(placement_args(options)).virtual_size, 2);
  options.parallel.num_layers_per_virtual_pipeline_stage = 0;
  options.parallel.pipeline_model_parallel_layout = "Et*3|t*5L";
  EXPECT_EQ(place_layers(placement_args(options)).at(1, 0).layers, 5);
  options.parallel.pipeline_model_parallel_layout = "Et*3|t*4L";
  EXPECT_THROW(place_layers(placement_args(options)), UserError);
}

}  // namespace
}  // namespace conclave
