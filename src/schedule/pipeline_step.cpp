#include "schedule/pipeline_step.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {
namespace {

// When forwards and backwards are done, by micro-batch and stage.
class Ends {
 public:
  explicit Ends(const PipelinePlan& plan) : stages_(plan.args.shape.pipeline_size * plan.args.shape.virtual_size) {
    const auto count = static_cast<size_t>(stages_ * plan.args.shape.micro_batches);
    forward_.assign(count, -1);
    backward_.assign(count, -1);
    const int64_t ranks = plan.args.shape.pipeline_size;
    for (size_t rank = 0; rank < plan.orders.size(); ++rank) {
      for (size_t i = 0; i < plan.orders[rank].size(); ++i) {
        const PipelineAction& action = plan.orders[rank][i];
        const auto here = static_cast<int64_t>(rank);
        const int64_t end = plan.times[rank][i].end;
        if (action.kind != PipelineActionKind::kBackward)
          forward_.at(place(action.forward.micro_batch, action.forward.chunk * ranks + here)) = end;
        if (action.kind != PipelineActionKind::kForward)
          backward_.at(place(action.backward.micro_batch, action.backward.chunk * ranks + here)) = end;
      }
    }
  }
  int64_t forward(int64_t micro_batch, int64_t stage) const { return forward_.at(place(micro_batch, stage)); }
  int64_t backward(int64_t micro_batch, int64_t stage) const { return backward_.at(place(micro_batch, stage)); }

 private:
  int64_t stages_;
  std::vector<int64_t> forward_, backward_;

  size_t place(int64_t micro_batch, int64_t stage) const { return static_cast<size_t>(micro_batch * stages_ + stage); }
};

// A message that a rank will get.
struct Arrival {
  StepAction action;
  int64_t ready = 0;  // when it is sent
  size_t pause = 0;   // before the action of that number
};

class ListBuilder {
 public:
  ListBuilder(const PipelinePlan& plan, const Ends& ends, int64_t rank)
      : plan_(plan),
        ends_(ends),
        rank_(rank),
        order_(plan.orders[static_cast<size_t>(rank)]),
        times_(plan.times[static_cast<size_t>(rank)]) {}

  std::vector<StepAction> build() {
    find_arrivals();
    size_t next = 0;
    for (size_t i = 0; i <= order_.size(); ++i) {
      while (next < arrivals_.size() && arrivals_[next].pause == i) list_.push_back(arrivals_[next++].action);
      if (i > 0) add_weight_gradients(order_[i - 1]);
      if (i == order_.size()) break;
      add_work(order_[i]);
      add_sends(order_[i], static_cast<int64_t>(i) + 1);
    }
    if (is_training()) {
      add_last_weight_gradients();
      for (const StepAction& action : closing_actions()) list_.push_back(action);
    }
    return std::move(list_);
  }

 private:
  const PipelinePlan& plan_;
  const Ends& ends_;
  int64_t rank_;
  const std::vector<PipelineAction>& order_;
  const std::vector<ActionTime>& times_;
  std::vector<Arrival> arrivals_;
  std::vector<StepAction> list_;

  bool is_training() const { return plan_.args.shape.work == PipelineWork::kTraining; }
  int64_t ranks() const { return plan_.args.shape.pipeline_size; }
  int64_t stage(const ChunkStep& step) const { return step.chunk * ranks() + rank_; }
  bool has_forward(const PipelineAction& action) const { return action.kind != PipelineActionKind::kBackward; }
  bool has_backward(const PipelineAction& action) const { return action.kind != PipelineActionKind::kForward; }

  void add_work(const PipelineAction& action) {
    switch (action.kind) {
      case PipelineActionKind::kForward:
        list_.push_back({ActionKind::kForward, action.forward.micro_batch, action.forward.chunk});
        break;
      case PipelineActionKind::kBackward:
        list_.push_back({ActionKind::kBackward, action.backward.micro_batch, action.backward.chunk});
        break;
      case PipelineActionKind::kMerged:
        list_.push_back(
            {ActionKind::kForwardBackward, action.forward.micro_batch, action.forward.chunk, -1, 0, action.backward});
        break;
    }
  }

  StepAction message(ActionKind kind, const ChunkStep& step, int64_t other_stage) const {
    const int64_t peer = other_stage % ranks();
    CONCLAVE_CHECK(peer != rank_, "[schedule] pipeline rank {} would send to itself", rank_);
    return {kind, step.micro_batch, step.chunk, peer};
  }

  void add_sends(const PipelineAction& action, int64_t pause) {
    const auto add = [&](StepAction send) {
      send.exchange = pause;
      list_.push_back(send);
    };
    if (has_forward(action) && stage(action.forward) < plan_.args.span.last)
      add(message(ActionKind::kSendActivation, action.forward, stage(action.forward) + 1));
    if (has_backward(action) && stage(action.backward) > plan_.args.span.first)
      add(message(ActionKind::kSendGradient, action.backward, stage(action.backward) - 1));
  }

  void add_arrival(ActionKind kind, const ChunkStep& step, int64_t other_stage) {
    Arrival arrival{message(kind, step, other_stage)};
    arrival.ready = kind == ActionKind::kReceiveActivation ? ends_.forward(step.micro_batch, other_stage)
                                                           : ends_.backward(step.micro_batch, other_stage);
    const auto pause = std::lower_bound(times_.begin(), times_.end(), arrival.ready,
                                        [](const ActionTime& time, int64_t ready) { return time.start < ready; });
    arrival.pause = static_cast<size_t>(pause - times_.begin());
    arrival.action.exchange = static_cast<int64_t>(arrival.pause);
    if (plan_.args.messages == MessageTiming::kEarly && arrival.pause > 0) --arrival.pause;
    arrivals_.push_back(arrival);
  }

  void find_arrivals() {
    for (const PipelineAction& action : order_) {
      if (has_forward(action) && stage(action.forward) > plan_.args.span.first)
        add_arrival(ActionKind::kReceiveActivation, action.forward, stage(action.forward) - 1);
      if (has_backward(action) && stage(action.backward) < plan_.args.span.last)
        add_arrival(ActionKind::kReceiveGradient, action.backward, stage(action.backward) + 1);
    }
    // As they are sent; a merged step sends its activation first.
    std::stable_sort(arrivals_.begin(), arrivals_.end(), [](const Arrival& a, const Arrival& b) {
      return a.ready != b.ready ? a.ready < b.ready : a.action.kind < b.action.kind;
    });
  }

  void add_weight_gradients(const PipelineAction& action) {
    if (plan_.args.weight_gradients != WeightGradientTiming::kAfterBackward || !has_backward(action)) return;
    list_.push_back({ActionKind::kWeightGradient, action.backward.micro_batch, action.backward.chunk});
  }

  void add_last_weight_gradients() {
    if (plan_.args.weight_gradients != WeightGradientTiming::kLast) return;
    for (const PipelineAction& action : order_) {
      if (has_backward(action))
        list_.push_back({ActionKind::kWeightGradient, action.backward.micro_batch, action.backward.chunk});
    }
  }
};

std::vector<std::vector<PipelineAction>> make_orders(const PipelineShape& shape) {
  std::vector<std::vector<PipelineAction>> orders(static_cast<size_t>(shape.pipeline_size));
  for (size_t rank = 0; rank < orders.size(); ++rank) {
    if (shape.work == PipelineWork::kTraining) {
      orders[rank] = pipeline_order(shape, static_cast<int64_t>(rank)).actions;
      continue;
    }
    const int64_t group = shape.group_size > 0 ? shape.group_size : shape.pipeline_size;
    for (const ChunkStep& step : interleaved_table(shape.micro_batches, shape.virtual_size, group))
      orders[rank].push_back({PipelineActionKind::kForward, step, {}});
  }
  return orders;
}

// Stages before the embedding and after the loss do nothing.
void drop_idle_stages(std::vector<std::vector<PipelineAction>>& orders, const StageSpan& span) {
  const auto ranks = static_cast<int64_t>(orders.size());
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::erase_if(orders[static_cast<size_t>(rank)], [&](PipelineAction& action) {
      const bool forward =
          action.kind != PipelineActionKind::kBackward && span.contains(action.forward.chunk * ranks + rank);
      const bool backward =
          action.kind != PipelineActionKind::kForward && span.contains(action.backward.chunk * ranks + rank);
      if (action.kind == PipelineActionKind::kMerged && forward != backward)
        action = forward ? PipelineAction{PipelineActionKind::kForward, action.forward, {}}
                         : PipelineAction{PipelineActionKind::kBackward, {}, action.backward};
      return !forward && !backward;
    });
  }
}

PipelinePlan plan_times(const PipelineStepArgs& args, std::vector<std::vector<PipelineAction>> orders) {
  PipelinePlan plan{args, std::move(orders), {}, {}};
  drop_idle_stages(plan.orders, args.span);
  plan.times = pipeline_times(plan.orders, args.span);
  return plan;
}

}  // namespace

PipelinePlan plan_pipeline(const PipelineStepArgs& args, std::vector<std::vector<PipelineAction>> orders) {
  PipelinePlan plan = plan_times(args, std::move(orders));
  const Ends ends(plan);
  for (int64_t rank = 0; rank < args.shape.pipeline_size; ++rank)
    plan.steps.push_back(ListBuilder(plan, ends, rank).build());
  return plan;
}

PipelinePlan plan_pipeline(const PipelineStepArgs& args) { return plan_pipeline(args, make_orders(args.shape)); }

std::vector<StepAction> pipeline_step(const PipelineStepArgs& args, int64_t pipeline_rank) {
  CONCLAVE_CHECK(pipeline_rank >= 0 && pipeline_rank < args.shape.pipeline_size, "rank {} of {}", pipeline_rank,
                 args.shape.pipeline_size);
  const PipelinePlan plan = plan_times(args, make_orders(args.shape));
  return ListBuilder(plan, Ends(plan), pipeline_rank).build();
}

}  // namespace conclave
