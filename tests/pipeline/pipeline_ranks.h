// A small model cut into pipeline stages, each on a rank in a thread of its own, and the same in one process.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "comm/world.h"
#include "pipeline/executor.h"

namespace conclave {

using Words = std::vector<std::string>;

/// What to train, on what, and how.
struct PipelineCase {
  std::string name;
  int64_t ranks = 1;
  Words words;  ///< options of the model and of the placement; later words win
  int64_t micro_batches = 4;
  WeightGradientTiming weight_gradients = WeightGradientTiming::kWithBackward;
  FullRecompute full_recompute = {};
  Words recompute_modules = {};
  MessageTiming messages = MessageTiming::kBetween;
  int64_t fails_on = -1;  ///< the rank whose second micro-batch cannot be made
  bool dense = false;     ///< no experts
  int64_t tensor = 1;     ///< TP; each stage then has that many ranks
  bool sequence = false;  ///< sequence parallelism

  int64_t world() const { return ranks * tensor; }
};

struct PipelineOutcome {
  std::map<std::string, std::vector<float>> gradients;  ///< whole tensors
  std::vector<std::vector<float>> losses;               ///< token losses by micro-batch
  std::vector<std::vector<float>> evaluations;          ///< of forward passes alone, before the step
  std::vector<std::string> tied;                        ///< parameters held by two stages
  bool clean = true;                                    ///< nothing left over on any device
  int64_t peak = 0;                                     ///< bytes in the second step, on one rank
};

/// Options of the model with `words`, resolved and unchecked.
Options pipeline_options(const PipelineCase& test);

/// Two steps of which the first is thrown away before the update; gradients and losses of the second.
PipelineOutcome run_pipeline(const PipelineCase& test);
/// The same by rank: gradients hold zeros where a rank has no part.
std::vector<PipelineOutcome> run_pipeline_ranks(const PipelineCase& test);
/// One rank alone on the device `sim`.
PipelineOutcome simulate_rank(const PipelineCase& test, int64_t rank);

/// The groups of a rank over `world`.
std::unique_ptr<ProcessGroups> pipeline_groups(World& world, LayoutSizes sizes, bool sequence_parallel);

}  // namespace conclave
