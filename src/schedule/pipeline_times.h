// When each rank of a pipeline does what, if every chunk costs the same and messages cost nothing: for drawings, and to
// decide when messages are posted.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/layer_placement.h"
#include "schedule/pipeline_order.h"

namespace conclave {

/// The stages from the embedding to the loss; stage = chunk * ranks + rank. Those before and after have no work.
struct StageSpan {
  int64_t first = 0, last = 0;

  bool contains(int64_t stage) const { return stage >= first && stage <= last; }
};
StageSpan stage_span(const LayerPlacement& placement);
/// All stages of `ranks` with `chunks` each.
StageSpan whole_span(int64_t ranks, int64_t chunks);

/// Units of time that a chunk takes; a merged step takes their sum.
inline constexpr int64_t kForwardTime = 1, kBackwardTime = 2;

struct ActionTime {
  int64_t start = 0, end = 0;
};

/// Times of orders[rank][action], each rank as early as its order and its inputs allow. Throws InternalError if the
/// orders make ranks wait for ever, or do something twice.
std::vector<std::vector<ActionTime>> pipeline_times(const std::vector<std::vector<PipelineAction>>& orders,
                                                    const StageSpan& span);

}  // namespace conclave
