#include "schedule/pipeline_order.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"

namespace conclave {
namespace {

// Carries out the orders of all ranks together; an action waits for what it needs from its neighbours. Returns an empty
// text when everything was done once and nobody waits for ever.
class Machine {
 public:
  Machine(const PipelineShape& shape, PipelineSync sync) : shape_(shape) {
    for (int64_t rank = 0; rank < shape.pipeline_size; ++rank) {
      orders_.push_back(pipeline_order(shape, rank, sync).actions);
    }
    places_.resize(orders_.size());
  }

  std::string run() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t rank = 0; rank < orders_.size(); ++rank) {
        while (places_[rank] < orders_[rank].size() &&
               ready(static_cast<int64_t>(rank), orders_[rank][places_[rank]])) {
          finish(static_cast<int64_t>(rank), orders_[rank][places_[rank]++]);
          moved = true;
        }
      }
    }
    for (size_t rank = 0; rank < orders_.size(); ++rank) {
      if (places_[rank] < orders_[rank].size()) return "rank " + std::to_string(rank) + " waits for ever";
    }
    const auto total = static_cast<size_t>(shape_.pipeline_size * shape_.virtual_size * shape_.micro_batches);
    if (!twice_.empty()) return twice_;
    if (forwards_.size() != total) return "not every forward was done";
    if (shape_.work == PipelineWork::kTraining && backwards_.size() != total) return "not every backward was done";
    return "";
  }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t>;  // micro-batch, chunk, rank
  PipelineShape shape_;
  std::vector<std::vector<PipelineAction>> orders_;
  std::vector<size_t> places_;
  std::set<Key> forwards_, backwards_;
  std::string twice_;

  bool forward_ready(int64_t rank, const ChunkStep& step) const {
    if (rank > 0) return forwards_.contains({step.micro_batch, step.chunk, rank - 1});
    return step.chunk == 0 || forwards_.contains({step.micro_batch, step.chunk - 1, shape_.pipeline_size - 1});
  }
  bool backward_ready(int64_t rank, const ChunkStep& step) const {
    if (!forwards_.contains({step.micro_batch, step.chunk, rank})) return false;
    if (rank < shape_.pipeline_size - 1) return backwards_.contains({step.micro_batch, step.chunk, rank + 1});
    return step.chunk == shape_.virtual_size - 1 || backwards_.contains({step.micro_batch, step.chunk + 1, 0});
  }
  bool ready(int64_t rank, const PipelineAction& action) const {
    return (action.kind == PipelineActionKind::kBackward || forward_ready(rank, action.forward)) &&
           (action.kind == PipelineActionKind::kForward || backward_ready(rank, action.backward));
  }
  void note(std::set<Key>& done, const Key& key) {
    if (!done.insert(key).second) twice_ = "something was done twice";
  }
  void finish(int64_t rank, const PipelineAction& action) {
    if (action.kind != PipelineActionKind::kBackward) {
      note(forwards_, {action.forward.micro_batch, action.forward.chunk, rank});
    }
    if (action.kind != PipelineActionKind::kForward) {
      note(backwards_, {action.backward.micro_batch, action.backward.chunk, rank});
    }
  }
};

TEST(PipelineOrder, NobodyWaitsForEver) {
  int shapes = 0;
  for (int64_t ranks = 1; ranks <= 5; ++ranks) {
    for (int64_t chunks = 1; chunks <= 4; ++chunks) {
      for (int64_t batches = 1; batches <= 11; ++batches) {
        for (int64_t group = ranks; group <= 7; ++group) {
          for (const bool merged : {false, true}) {
            for (const PipelineWork work : {PipelineWork::kTraining, PipelineWork::kForwardOnly}) {
              const PipelineShape shape{ranks, chunks, batches, group, merged, work};
              try {
                check_pipeline_shape(shape);
              } catch (const UserError&) {
                continue;
              }
              ++shapes;
              EXPECT_EQ(Machine(shape, PipelineSync::kByBackward).run(), "")
                  << ranks << " ranks, " << chunks << " chunks, " << batches << " in groups of " << group << merged;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(shapes, 500);
}

TEST(PipelineOrder, WeightGradientsOfAChunkComeInMicroBatchOrder) {
  const PipelineShape shape{4, 3, 12, 8, true, PipelineWork::kTraining};
  for (int64_t rank = 0; rank < 4; ++rank) {
    std::vector<int64_t> last(3, -1);
    for (const PipelineAction& action : pipeline_order(shape, rank).actions) {
      if (action.kind == PipelineActionKind::kForward) continue;
      int64_t& before = last[static_cast<size_t>(action.backward.chunk)];
      EXPECT_EQ(action.backward.micro_batch, before + 1);
      before = action.backward.micro_batch;
    }
  }
}

TEST(PipelineOrder, TextOfASmallOne) {
  EXPECT_EQ(pipeline_text(pipeline_order({2, 1, 3, 0, false, PipelineWork::kTraining}, 0).actions),
            "F0.0 F1.0 B0.0 F2.0 B1.0 B2.0");
  EXPECT_EQ(pipeline_text(pipeline_order({1, 1, 3, 0, true, PipelineWork::kTraining}, 0).actions),
            "F0.0 FB1.0/0.0 FB2.0/1.0 B2.0");
}

TEST(PipelineOrder, ShapesThatDoNotFitAreRefused) {
  for (const PipelineShape& shape :
       {PipelineShape{4, 2, 8, 3}, PipelineShape{4, 2, 3, 4}, PipelineShape{4, 2, 8, 9}, PipelineShape{4, 2, 9, 4},
        PipelineShape{1, 2, 4, 1}, PipelineShape{2, 1, 4, 0, true}, PipelineShape{0, 1, 4}, PipelineShape{2, 1, 0}}) {
    EXPECT_THROW(pipeline_order(shape, 0), UserError);
  }
}

}  // namespace
}  // namespace conclave
