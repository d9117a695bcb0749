// One rank of a job that is not there: the real trainer on the device `sim`, against groups that answer with shapes.
// What it holds and computes costs as much as that rank's own share, whatever the size of the world. docs/memory.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/parse.h"
#include "device/accounting.h"
#include "device/memory.h"

namespace conclave {

/// What one rank of a layout holds and does.
struct RankReport {
  int64_t rank = 0, world_size = 1;
  int64_t stage = 0;   ///< pipeline rank
  std::string layers;  ///< "embedding, layers 0 to 7"
  MemoryStatistics memory;
  std::map<std::string, int64_t> names_at_peak;  ///< "activations/dispatch.rows" -> bytes
  Cost step;                                     ///< of its last step
  struct GroupTraffic {
    std::string group;
    int64_t size = 1;
    int64_t bytes_sent = 0;  ///< in its last step
  };
  std::vector<GroupTraffic> traffic;
};

/// Steps of a dry run where --exit-interval and --train-iters do not ask for fewer: the second is as all later ones.
inline constexpr int64_t kDryRunSteps = 2;

/// `parsed` with --world-size and --rank filled from WORLD_SIZE and RANK of the environment where they are not given.
/// Throws UsageError where neither tells the size, or the environment holds no number.
ParsedOptions pretended_job(ParsedOptions parsed);

/// Trains some steps as rank `rank` of the pretended job: nothing is read but the tokenizer (and that only without
/// --vocab-size) and a routing trace, nothing is written. Throws UsageError for options that contradict each other.
RankReport dry_run(const ParsedOptions& parsed, int64_t rank);

/// One rank of each pipeline stage: the first one of the stage, whose experts are the most loaded under zipf.
std::vector<RankReport> dry_run_stages(const ParsedOptions& parsed);

/// For people: bytes by category and by name, FLOPs, traffic.
std::string rank_report_text(const RankReport& report);
/// A row for each report, and the largest of each column.
std::string rank_reports_table(const std::vector<RankReport>& reports);

}  // namespace conclave
