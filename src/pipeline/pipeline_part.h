// What one rank of a pipeline holds and does.
#pragma once

#include <memory>
#include <vector>

#include "comm/process_groups.h"
#include "models/gpt.h"
#include "schedule/pipeline_step.h"

namespace conclave {

/// A rank's place in its pipeline and the rules of its step lists. Default: one process, one chunk.
struct PipelinePart {
  int64_t rank = 0, ranks = 1;
  int64_t chunks = 1;      ///< of each rank
  StageSpan span;          ///< where embedding and loss stand
  int64_t group_size = 0;  ///< micro-batches that visit a chunk in a row; 0: ranks
  WeightGradientTiming weight_gradients = WeightGradientTiming::kWithBackward;
  MessageTiming messages = MessageTiming::kBetween;

  bool holds_loss() const { return span.last % ranks == rank; }
  /// The rank of the pipeline that knows the loss.
  int64_t loss_rank() const { return span.last % ranks; }
};

/// From resolved options: rank `rank` of the pipeline. --overlap-p2p-comm posts receives early.
PipelinePart pipeline_part(const Options& options, const LayerPlacement& placement, int64_t rank);
PipelinePart pipeline_part(const Options& options, const LayerPlacement& placement, const ProcessGroups& groups);

/// Throws UserError where tied embeddings or prediction layers cannot be placed like that.
void check_placement(const ModelSpec& spec, const LayerPlacement& placement);

struct ChunksArgs {
  const ModelSpec& spec;
  const LayerPlacement& placement;
  int64_t pipeline_rank = 0;
  FullRecompute recompute = {};
  ModelPart part = {};
};
/// The chunks of a rank, in order; their parameters are declared chunk by chunk.
std::vector<std::unique_ptr<GptChunk>> make_chunks(ParameterStore& store, Device& device, const ChunksArgs& args);
/// As the executor takes them.
std::vector<const GptChunk*> pointers(const std::vector<std::unique_ptr<GptChunk>>& chunks);

/// What decides the lists of a training step on all ranks.
PipelineStepArgs training_step_args(const PipelinePart& part, int64_t micro_batches);
/// This rank's list for a training step. Throws UserError where the micro-batches do not fit the pipeline.
std::vector<StepAction> training_actions(const PipelinePart& part, int64_t micro_batches);
/// Forwards alone; any number of micro-batches.
std::vector<StepAction> evaluation_actions(const PipelinePart& part, int64_t micro_batches);

}  // namespace conclave
