#include "schedule/pipeline_order.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"

namespace conclave {
namespace {

int64_t group_size_of(const PipelineShape& shape) {
  return shape.group_size > 0 ? shape.group_size : shape.pipeline_size;
}

bool is_interleaved(const PipelineShape& shape) { return shape.virtual_size > 1; }

// Builds one rank's order; step i of forward and of backward are looked up in tables.
class Builder {
 public:
  Builder(const PipelineShape& shape, int64_t rank, PipelineSync sync) : shape_(shape), rank_(rank), sync_(sync) {
    forward_ = interleaved_table(shape.micro_batches, shape.virtual_size, group_size_of(shape));
    backward_ = forward_;
    for (ChunkStep& step : backward_) step.chunk = shape.virtual_size - 1 - step.chunk;
  }

  RankOrder build() {
    const WarmupCount count = warmup_count(shape_, rank_);
    if (by_calls()) order_.parameter_calls = {{0, 0}, {0, 1}};
    int64_t f = 0, b = 0;
    while (f < count.warmup) add(PipelineActionKind::kForward, f++, 0);
    if (shape_.work == PipelineWork::kForwardOnly) return std::move(order_);
    while (f < count.total) {
      if (shape_.merged) {
        add(PipelineActionKind::kMerged, f++, b++);
      } else {
        add(PipelineActionKind::kForward, f++, 0);
        add(PipelineActionKind::kBackward, 0, b++);
      }
    }
    while (b < count.total) add(PipelineActionKind::kBackward, 0, b++);
    add_left_over_calls();
    return std::move(order_);
  }

 private:
  const PipelineShape& shape_;
  int64_t rank_;
  PipelineSync sync_;
  std::vector<ChunkStep> forward_, backward_;
  RankOrder order_;
  std::vector<int64_t> called_;  ///< chunks whose gradients were asked for

  bool by_calls() const { return sync_ == PipelineSync::kByCalls && is_interleaved(shape_); }
  int64_t done() const { return static_cast<int64_t>(order_.actions.size()); }

  void add(PipelineActionKind kind, int64_t f, int64_t b) {
    PipelineAction action{kind, {}, {}};
    if (kind != PipelineActionKind::kBackward) {
      action.forward = forward_[static_cast<size_t>(f)];
      call_parameters(f);
    }
    if (kind != PipelineActionKind::kForward) action.backward = backward_[static_cast<size_t>(b)];
    order_.actions.push_back(action);
    if (kind != PipelineActionKind::kForward) after_backward(b);
  }

  // The parameters of chunk c are asked for when the first micro-batch of chunk c - 1 is `rank` steps away.
  void call_parameters(int64_t f) {
    const auto ahead = static_cast<size_t>(f + rank_);
    if (!by_calls() || ahead >= forward_.size()) return;
    const int64_t chunk = forward_[ahead].chunk + 1;
    if (forward_[ahead].micro_batch == 0 && chunk > 1 && chunk < shape_.virtual_size) {
      order_.parameter_calls.push_back({done(), chunk});
    }
  }

  void after_backward(int64_t b) {
    const ChunkStep step = backward_[static_cast<size_t>(b)];
    const int64_t last = shape_.micro_batches - 1;
    if (sync_ == PipelineSync::kByBackward || (!is_interleaved(shape_) && rank_ == 0)) {
      if (step.micro_batch == last) order_.reducing_backwards.push_back(step);
    } else if (by_calls() && b >= rank_) {
      const ChunkStep behind = backward_[static_cast<size_t>(b - rank_)];
      if (behind.micro_batch == last) call_gradients(behind.chunk);
    }
  }

  void call_gradients(int64_t chunk) {
    called_.push_back(chunk);
    order_.gradient_calls.push_back({done(), chunk});
  }

  void add_left_over_calls() {
    if (sync_ == PipelineSync::kByBackward || (!is_interleaved(shape_) && rank_ == 0)) return;
    for (int64_t chunk = 0; chunk < shape_.virtual_size; ++chunk) {
      if (std::find(called_.begin(), called_.end(), chunk) == called_.end()) call_gradients(chunk);
    }
  }
};

}  // namespace

void check_pipeline_shape(const PipelineShape& shape) {
  const int64_t ranks = shape.pipeline_size, batches = shape.micro_batches, group = group_size_of(shape);
  CONCLAVE_USER_CHECK(ranks >= 1 && shape.virtual_size >= 1 && batches >= 1,
                      "a pipeline needs ranks, chunks and micro-batches; got {}, {} and {}; raise them", ranks,
                      shape.virtual_size, batches);
  CONCLAVE_USER_CHECK(!shape.merged || ranks == 1 || is_interleaved(shape),
                      "--overlap-moe-expert-parallel-comm with a pipeline needs several chunks on a rank; got one; add "
                      "--num-layers-per-virtual-pipeline-stage N");
  if (!is_interleaved(shape)) return;
  CONCLAVE_USER_CHECK(ranks > 1,
                      "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 "
                      "and {} chunks; raise it",
                      shape.virtual_size);
  CONCLAVE_USER_CHECK(
      group >= ranks && group <= batches,
      "--microbatch-group-size-per-virtual-pipeline-stage must be between "
      "--pipeline-model-parallel-size ({}) and the micro-batches of a step ({}); got {}; change it or the "
      "batch",
      ranks, batches, group);
  CONCLAVE_USER_CHECK(
      batches % group == 0 || batches % group >= ranks,
      "the last group of micro-batches must hold at least --pipeline-model-parallel-size of them; got {} "
      "of {} in groups of {}; change the batch or --microbatch-group-size-per-virtual-pipeline-stage",
      batches % group, batches, group);
}

std::vector<ChunkStep> interleaved_table(int64_t micro_batches, int64_t chunks, int64_t group_size) {
  CONCLAVE_CHECK(group_size > 0, "a group of {} micro-batches", group_size);
  std::vector<ChunkStep> steps;
  steps.reserve(static_cast<size_t>(micro_batches * chunks));
  for (int64_t first = 0; first < micro_batches; first += group_size) {
    const int64_t end = std::min(first + group_size, micro_batches);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      for (int64_t batch = first; batch < end; ++batch) steps.push_back({batch, chunk});
    }
  }
  return steps;
}

WarmupCount warmup_count(const PipelineShape& shape, int64_t pipeline_rank) {
  WarmupCount count;
  count.total = shape.micro_batches * shape.virtual_size;
  const int64_t behind = shape.pipeline_size - pipeline_rank - 1;
  if (shape.work == PipelineWork::kForwardOnly) {
    count.warmup = count.total;
  } else if (is_interleaved(shape)) {
    count.warmup = 2 * behind + (shape.virtual_size - 1) * group_size_of(shape) + shape.merged;
  } else {
    count.warmup = shape.merged && shape.pipeline_size == 1 ? 1 : behind;
  }
  count.warmup = std::min(count.warmup, count.total);
  count.remaining = count.total - count.warmup;
  return count;
}

RankOrder pipeline_order(const PipelineShape& shape, int64_t pipeline_rank, PipelineSync sync) {
  check_pipeline_shape(shape);
  CONCLAVE_CHECK(pipeline_rank >= 0 && pipeline_rank < shape.pipeline_size, "rank {} of {}", pipeline_rank,
                 shape.pipeline_size);
  return Builder(shape, pipeline_rank, sync).build();
}

std::string pipeline_text(const std::vector<PipelineAction>& actions) {
  std::string text;
  for (const PipelineAction& action : actions) {
    if (!text.empty()) text += ' ';
    switch (action.kind) {
      case PipelineActionKind::kForward:
        text += fmt::format("F{}.{}", action.forward.micro_batch, action.forward.chunk);
        break;
      case PipelineActionKind::kBackward:
        text += fmt::format("B{}.{}", action.backward.micro_batch, action.backward.chunk);
        break;
      case PipelineActionKind::kMerged:
        text += fmt::format("FB{}.{}/{}.{}", action.forward.micro_batch, action.forward.chunk,
                            action.backward.micro_batch, action.backward.chunk);
        break;
    }
  }
  return text;
}

}  // namespace conclave
