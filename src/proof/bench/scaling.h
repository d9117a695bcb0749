// How fast two ranks with half the threads each train beside one process with all of them.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "config/parse.h"

namespace conclave::proof {

struct ScalingRow {
  std::string name;                             ///< "one process", "DP2", ...
  std::string obstacle;                         ///< why the layout cannot be for this model; empty: it can
  double median_seconds = 0, best_seconds = 0;  ///< of a step
  double tokens_per_second = 0;                 ///< of the job, at the median
  double share = 0;                             ///< of one process with the same routing
};

/// Steps of eight micro-batches of the model of `parsed`, about `seconds` for each row, ranks as threads. Layers of PP
/// are split so that the output layer counts as the layers that cost as much. EP: natural routing and forced balance.
std::vector<ScalingRow> bench_scaling(const ParsedOptions& parsed, int64_t vocab, double seconds);

std::string scaling_table(const std::vector<ScalingRow>& rows);
Json scaling_json(const std::vector<ScalingRow>& rows);

}  // namespace conclave::proof
