// A pipeline as a person sees it: what each rank holds, when it does what, and its list of actions. Times are those of
// pipeline_times.h: every chunk costs the same, messages cost nothing.
#pragma once

#include <string>

#include "schedule/layer_placement.h"
#include "schedule/pipeline_step.h"

namespace conclave {

/// One line per rank: "rank 0: embedding, layers 0-1 | layers 4-5", chunks separated by bars.
std::string placement_text(const LayerPlacement& placement, int64_t ranks);

/// Time runs to the right, one line per rank, broken into blocks of at most `columns` characters; below it the share of
/// time in which ranks wait, the micro-batches that each holds at most, and each rank's list.
std::string draw_text(const PipelinePlan& plan, int64_t columns = 120);

/// The same picture as an SVG document; lines show messages.
std::string draw_svg(const PipelinePlan& plan);

}  // namespace conclave
