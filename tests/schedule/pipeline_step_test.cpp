#include "schedule/pipeline_step.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "base/error.h"

namespace conclave {
namespace {

// Carries out the lists of all ranks as an executor does, with messages that are done only when both sides are there:
// between two ranks the nth message sent in a direction meets the nth receive.
class Ranks {
 public:
  explicit Ranks(const PipelinePlan& plan) : plan_(plan), ranks_(plan.steps.size()) {}

  // Empty if every rank came to its end.
  std::string run() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (size_t rank = 0; rank < ranks_.size(); ++rank) {
        while (step(rank)) moved = true;
      }
    }
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      const size_t place = ranks_[rank].place;
      if (place < plan_.steps[rank].size())
        return "rank " + std::to_string(rank) + " waits for ever before action " + std::to_string(place) + " of " +
               step_text(plan_.steps[rank]);
    }
    return wrong_;
  }

 private:
  enum Queue { kSends, kReceives };
  struct Rank {
    size_t place = 0;
    // Groups of messages handed over so far, and how many of each queue are done. kBetween: one queue, and the host
    // waits.
    std::vector<std::vector<StepAction>> queues[2];
    size_t done[2] = {0, 0};
  };
  const PipelinePlan& plan_;
  std::vector<Rank> ranks_;
  std::string wrong_;

  bool early() const { return plan_.args.messages == MessageTiming::kEarly; }

  // The messages that a rank has under way or done, of one direction and peer, in order; the last group of a queue
  // counts once those before it are done.
  std::vector<StepAction> posted(size_t rank, size_t peer, bool sends) const {
    std::vector<StepAction> out;
    for (const Queue queue : {kSends, kReceives}) {
      const auto& groups = ranks_[rank].queues[queue];
      for (size_t i = 0; i < groups.size() && i <= ranks_[rank].done[queue]; ++i) {
        for (const StepAction& action : groups[i]) {
          if (is_send(action) == sends && action.peer == static_cast<int64_t>(peer)) out.push_back(action);
        }
      }
    }
    return out;
  }

  bool meets(size_t rank, const StepAction& action) {
    const auto peer = static_cast<size_t>(action.peer);
    const std::vector<StepAction> mine = posted(rank, peer, is_send(action));
    const std::vector<StepAction> theirs = posted(peer, rank, !is_send(action));
    const auto index = static_cast<size_t>(std::find(mine.begin(), mine.end(), action) - mine.begin());
    if (index >= theirs.size()) return false;
    if (!same_message(rank, action, peer, theirs[index]))
      wrong_ = step_text({action}) + " meets " + step_text({theirs[index]});
    return true;
  }

  bool same_message(size_t rank, const StepAction& mine, size_t peer, const StepAction& theirs) const {
    const bool activation = mine.kind == ActionKind::kSendActivation || mine.kind == ActionKind::kReceiveActivation;
    const bool other = theirs.kind == ActionKind::kSendActivation || theirs.kind == ActionKind::kReceiveActivation;
    const auto count = static_cast<int64_t>(ranks_.size());
    const int64_t here = mine.chunk * count + static_cast<int64_t>(rank);
    const int64_t there = theirs.chunk * count + static_cast<int64_t>(peer);
    const int64_t way = (activation ? 1 : -1) * (is_send(mine) ? 1 : -1);
    return activation == other && mine.micro_batch == theirs.micro_batch && there == here + way;
  }

  // Ends groups whose messages all meet.
  bool progress(size_t rank) {
    bool moved = false;
    for (const Queue queue : {kSends, kReceives}) {
      Rank& r = ranks_[rank];
      while (r.done[queue] < r.queues[queue].size()) {
        const std::vector<StepAction>& group = r.queues[queue][r.done[queue]];
        if (!std::all_of(group.begin(), group.end(), [&](const StepAction& a) { return meets(rank, a); })) break;
        ++r.done[queue];
        moved = true;
      }
    }
    return moved;
  }

  bool idle(size_t rank, Queue queue) const { return ranks_[rank].done[queue] == ranks_[rank].queues[queue].size(); }

  // Whether the message that a piece of work takes is here (it takes none, or the receive's group is done).
  bool has(size_t rank, ActionKind kind, int64_t micro_batch, int64_t chunk) const {
    const Rank& r = ranks_[rank];
    for (const Queue queue : {kSends, kReceives}) {
      for (size_t i = 0; i < r.queues[queue].size(); ++i) {
        for (const StepAction& action : r.queues[queue][i]) {
          if (action.kind == kind && action.micro_batch == micro_batch && action.chunk == chunk)
            return i < r.done[queue];
        }
      }
    }
    const int64_t stage = chunk * static_cast<int64_t>(ranks_.size()) + static_cast<int64_t>(rank);
    return kind == ActionKind::kReceiveActivation ? stage == plan_.args.span.first : stage == plan_.args.span.last;
  }

  bool ready(size_t rank, const StepAction& action) const {
    switch (action.kind) {
      case ActionKind::kForward:
        return has(rank, ActionKind::kReceiveActivation, action.micro_batch, action.chunk);
      case ActionKind::kBackward:
        return has(rank, ActionKind::kReceiveGradient, action.micro_batch, action.chunk);
      case ActionKind::kForwardBackward:
        return has(rank, ActionKind::kReceiveActivation, action.micro_batch, action.chunk) &&
               has(rank, ActionKind::kReceiveGradient, action.backward.micro_batch, action.backward.chunk);
      default:
        return true;
    }
  }

  bool step(size_t rank) {
    Rank& r = ranks_[rank];
    const bool moved = progress(rank);
    const std::vector<StepAction>& list = plan_.steps[rank];
    if (r.place == list.size()) return moved;
    if (!early() && !idle(rank, kSends)) return moved;  // the host waits in its exchange
    if (!is_message(list[r.place])) {
      if (!ready(rank, list[r.place])) return moved;
      ++r.place;
      return true;
    }
    size_t end = r.place + 1;
    while (end < list.size() && are_together(list[end - 1], list[end])) ++end;
    const auto at = [&](size_t i) { return list.begin() + static_cast<std::ptrdiff_t>(i); };
    std::vector<StepAction> group(at(r.place), at(end));
    const Queue queue = early() && !is_send(group[0]) ? kReceives : kSends;
    if (early() && queue == kSends && !idle(rank, kSends)) return moved;  // one send at a time
    for (const StepAction& action : group) EXPECT_TRUE(!early() || is_send(action) == is_send(group[0]));
    r.queues[queue].push_back(std::move(group));
    r.place = end;
    return true;
  }
};

template <typename Function>
int for_shapes(Function function) {
  int shapes = 0;
  for (int64_t ranks = 1; ranks <= 5; ++ranks) {
    for (int64_t chunks = 1; chunks <= 3; ++chunks) {
      for (const int64_t batches : {1, 2, 3, 4, 5, 7, 9, 12}) {
        for (int64_t group = ranks; group <= 7; group += 2) {
          for (const bool merged : {false, true}) {
            const PipelineShape shape{ranks, chunks, batches, group, merged, PipelineWork::kTraining};
            try {
              check_pipeline_shape(shape);
            } catch (const UserError&) {
              continue;
            }
            ++shapes;
            function(shape);
          }
        }
      }
    }
  }
  return shapes;
}

TEST(PipelineStep, NobodyWaitsForEverAndMessagesMeet) {
  const int shapes = for_shapes([](const PipelineShape& shape) {
    for (const MessageTiming messages : {MessageTiming::kBetween, MessageTiming::kEarly}) {
      PipelineStepArgs args{shape, whole_span(shape.pipeline_size, shape.virtual_size)};
      args.messages = messages;
      args.weight_gradients = WeightGradientTiming::kAfterBackward;
      const PipelinePlan plan = plan_pipeline(args);
      EXPECT_EQ(Ranks(plan).run(), "");
      for (const auto& steps : plan.steps) check_step(steps, shape.micro_batches);
    }
  });
  EXPECT_GT(shapes, 200);
}

TEST(PipelineStep, EvaluationTakesAnyNumberOfMicroBatches) {
  for (int64_t ranks = 1; ranks <= 4; ++ranks) {
    for (int64_t chunks = 1; chunks <= 3; ++chunks) {
      for (int64_t batches = 1; batches <= 6; ++batches) {
        if (ranks == 1 && chunks > 1) continue;
        for (const MessageTiming messages : {MessageTiming::kBetween, MessageTiming::kEarly}) {
          PipelineStepArgs args{{ranks, chunks, batches, 0, false, PipelineWork::kForwardOnly},
                                whole_span(ranks, chunks)};
          args.messages = messages;
          const PipelinePlan plan = plan_pipeline(args);
          EXPECT_EQ(Ranks(plan).run(), "");
          for (const auto& steps : plan.steps) {
            for (const StepAction& action : steps)
              EXPECT_TRUE(action.kind == ActionKind::kForward || is_message(action)) << step_text(steps);
          }
        }
      }
    }
  }
}

TEST(PipelineStep, ListsOfTwoRanks) {
  PipelineStepArgs args{{2, 1, 3}, whole_span(2, 1)};
  EXPECT_EQ(step_text(pipeline_step(args, 0)),
            "F0 >a0 F1 (>a1 <g0) B0 F2 (>a2 <g1) B1 <g2 B2 finalize clip buffers update");
  EXPECT_EQ(step_text(pipeline_step(args, 1)),
            "<a0 F0 <a1 B0 >g0 F1 B1 (>g1 <a2) F2 B2 >g2 finalize clip buffers update");
  args.messages = MessageTiming::kEarly;
  args.weight_gradients = WeightGradientTiming::kAfterBackward;
  EXPECT_EQ(step_text(pipeline_step(args, 0)),
            "F0 >a0 <g0 F1 >a1 B0 <g1 W0 F2 >a2 <g2 B1 W1 B2 W2 finalize clip buffers update");
}

TEST(PipelineStep, StagesOutsideTheModelDoNothing) {
  // The embedding stands on the second stage, the loss on the third of four.
  const PipelineStepArgs args{{4, 1, 2}, {1, 2}};
  const PipelinePlan plan = plan_pipeline(args);
  EXPECT_EQ(Ranks(plan).run(), "");
  EXPECT_EQ(step_text(plan.steps[0]), "finalize clip buffers update");
  EXPECT_EQ(step_text(plan.steps[3]), "finalize clip buffers update");
  EXPECT_EQ(step_text(plan.steps[1]).substr(0, 8), "F0 >a0 F");
  LayerPlacement placement = place_layers({.num_layers = 2, .pipeline_size = 2, .layout = "|EttL"});
  EXPECT_EQ(stage_span(placement).first, 1);
  EXPECT_EQ(stage_span(placement).last, 1);
}

TEST(PipelineStep, OrdersThatNeverEndAreRefused) {
  const PipelineStepArgs args{{2, 1, 1}, whole_span(2, 1)};
  const PipelineAction forward{PipelineActionKind::kForward, {0, 0}, {}};
  const PipelineAction backward{PipelineActionKind::kBackward, {}, {0, 0}};
  EXPECT_THROW(plan_pipeline(args, {{backward, forward}, {forward, backward}}), InternalError);
  EXPECT_THROW(plan_pipeline(args, {{forward, backward}, {backward}}), InternalError);
  EXPECT_THROW(plan_pipeline(args, {{forward, forward, backward}, {forward, backward}}), InternalError);
}

TEST(PipelineStep, ListsThatAreOutOfOrderAreFound) {
  for (const std::vector<StepAction>& actions : std::vector<std::vector<StepAction>>{
           {{ActionKind::kBackward, 0}, {ActionKind::kForward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kForward, 0}, {ActionKind::kBackward, 0}},
           {{ActionKind::kForward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kBackward, 1}},
           {{ActionKind::kForward, 0}, {ActionKind::kWeightGradient, 0}, {ActionKind::kBackward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kReceiveActivation, 0}, {ActionKind::kBackward, 0}},
           {{ActionKind::kSendActivation, 0}, {ActionKind::kForward, 0}, {ActionKind::kBackward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kSendGradient, 0}, {ActionKind::kBackward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kBackward, 0}, {ActionKind::kReceiveGradient, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kClip}, {ActionKind::kBackward, 0}},
           {{ActionKind::kForward, 0}, {ActionKind::kBackward, 0}, {ActionKind::kClip}, {ActionKind::kClip}}})
    EXPECT_THROW(check_step(actions, 1), InternalError) << step_text(actions);
}

}  // namespace
}  // namespace conclave
