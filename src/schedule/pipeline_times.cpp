#include "schedule/pipeline_times.h"

#include <algorithm>
#include <deque>

#include "base/error.h"

namespace conclave {
namespace {

// Carries out the orders of all ranks together.
class Clock {
 public:
  Clock(const std::vector<std::vector<PipelineAction>>& orders, const StageSpan& span)
      : orders_(orders), ranks_(static_cast<int64_t>(orders.size())), span_(span) {
    for (const std::vector<PipelineAction>& order : orders) {
      for (const PipelineAction& action : order)
        micro_batches_ = std::max({micro_batches_, action.forward.micro_batch + 1, action.backward.micro_batch + 1});
    }
    const auto count = static_cast<size_t>(micro_batches_ * (span.last + 1));
    forwards_.assign(count, kNever);
    backwards_.assign(count, kNever);
    times_.resize(orders.size());
  }

  std::vector<std::vector<ActionTime>> run() {
    std::deque<int64_t> to_try;
    for (int64_t rank = 0; rank < ranks_; ++rank) to_try.push_back(rank);
    while (!to_try.empty()) {
      const int64_t rank = to_try.front();
      to_try.pop_front();
      bool moved = false;
      while (advance(rank)) moved = true;
      if (!moved) continue;
      to_try.push_back((rank + 1) % ranks_);
      to_try.push_back((rank + ranks_ - 1) % ranks_);
    }
    for (size_t rank = 0; rank < orders_.size(); ++rank) {
      CONCLAVE_CHECK(times_[rank].size() == orders_[rank].size(),
                     "[schedule] pipeline rank {} waits for ever before its action {} in: {}", rank,
                     times_[rank].size(), pipeline_text(orders_[rank]));
    }
    return std::move(times_);
  }

 private:
  static constexpr int64_t kNever = -1;
  const std::vector<std::vector<PipelineAction>>& orders_;
  int64_t ranks_, micro_batches_ = 0;
  StageSpan span_;
  std::vector<int64_t> forwards_, backwards_;  // end by micro-batch and stage
  std::vector<std::vector<ActionTime>> times_;

  int64_t& at(std::vector<int64_t>& ends, int64_t micro_batch, int64_t stage) const {
    return ends[static_cast<size_t>(micro_batch * (span_.last + 1) + stage)];
  }
  int64_t stage(int64_t rank, const ChunkStep& step) const { return step.chunk * ranks_ + rank; }

  int64_t forward_ready(int64_t rank, const ChunkStep& step) {
    const int64_t here = stage(rank, step);
    return here == span_.first ? 0 : at(forwards_, step.micro_batch, here - 1);
  }
  int64_t backward_ready(int64_t rank, const ChunkStep& step) {
    const int64_t here = stage(rank, step);
    const int64_t own = at(forwards_, step.micro_batch, here);
    if (own == kNever || here == span_.last) return own;
    return at(backwards_, step.micro_batch, here + 1);
  }

  bool advance(int64_t rank) {
    const auto index = static_cast<size_t>(rank);
    std::vector<ActionTime>& done = times_[index];
    if (done.size() == orders_[index].size()) return false;
    const PipelineAction& action = orders_[index][done.size()];
    const bool forward = action.kind != PipelineActionKind::kBackward;
    const bool backward = action.kind != PipelineActionKind::kForward;
    const int64_t input = forward ? forward_ready(rank, action.forward) : 0;
    const int64_t gradient = backward ? backward_ready(rank, action.backward) : 0;
    if (input == kNever || gradient == kNever) return false;
    ActionTime time;
    time.start = std::max({done.empty() ? 0 : done.back().end, input, gradient});
    time.end = time.start + (forward ? kForwardTime : 0) + (backward ? kBackwardTime : 0);
    if (forward) finish(forwards_, rank, action.forward, time.end);
    if (backward) finish(backwards_, rank, action.backward, time.end);
    done.push_back(time);
    return true;
  }

  void finish(std::vector<int64_t>& ends, int64_t rank, const ChunkStep& step, int64_t end) {
    int64_t& place = at(ends, step.micro_batch, stage(rank, step));
    CONCLAVE_CHECK_EQ(place, kNever, "[schedule] pipeline rank {} works twice on micro-batch {} in chunk {}", rank,
                      step.micro_batch, step.chunk);
    place = end;
  }
};

}  // namespace

StageSpan stage_span(const LayerPlacement& placement) {
  StageSpan span;
  for (size_t i = 0; i < placement.stages.size(); ++i) {
    if (placement.stages[i].embedding) span.first = static_cast<int64_t>(i);
    if (placement.stages[i].loss) span.last = static_cast<int64_t>(i);
  }
  return span;
}

StageSpan whole_span(int64_t ranks, int64_t chunks) { return {0, ranks * chunks - 1}; }

std::vector<std::vector<ActionTime>> pipeline_times(const std::vector<std::vector<PipelineAction>>& orders,
                                                    const StageSpan& span) {
  return Clock(orders, span).run();
}

}  // namespace conclave
