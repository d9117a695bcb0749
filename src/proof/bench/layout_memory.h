// What a rank holds as one axis of the layout grows, beside what the guide to MoE training says of it. Dry runs
// (trainer/dry_run.h) of one rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "config/parse.h"

namespace conclave::proof {

/// Peaks of one rank as shares of those of a job of one rank; the guide's entries beside them.
struct LayoutMemoryRow {
  std::string strategy;                                ///< "TP", "EP", ...
  int64_t ranks = 1;                                   ///< N
  std::string obstacle;                                ///< why it cannot be for this model; empty: it can
  double activations = 0, weights = 0, optimizer = 0;  ///< weights: with their gradients
  std::string guide_activations, guide_weights, guide_optimizer;
};

/// Every strategy of the guide's table on 2, 4 and 8 ranks, for the model of `parsed` at micro-batches of its size;
/// optimizer states are shared. Of a pipeline: the first stage.
std::vector<LayoutMemoryRow> bench_layout_memory(const ParsedOptions& parsed);

std::string layout_memory_table(const std::vector<LayoutMemoryRow>& rows);
Json layout_memory_json(const std::vector<LayoutMemoryRow>& rows);

}  // namespace conclave::proof
