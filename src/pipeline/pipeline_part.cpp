#include "pipeline/pipeline_part.h"

#include "base/error.h"

namespace conclave {
namespace {

PipelineStepArgs step_args(const PipelinePart& part, int64_t micro_batches, PipelineWork work) {
  PipelineStepArgs args;
  args.shape = {part.ranks, part.chunks, micro_batches, part.group_size, false, work};
  args.span = part.span;
  args.weight_gradients = part.weight_gradients;
  args.messages = part.messages;
  return args;
}

}  // namespace

PipelinePart pipeline_part(const Options& options, const LayerPlacement& placement, const ProcessGroups& groups) {
  return pipeline_part(options, placement, groups.layout().dense(groups.rank()).pipeline);
}

PipelinePart pipeline_part(const Options& options, const LayerPlacement& placement, int64_t rank) {
  const ParallelOptions& parallel = options.parallel;
  PipelinePart part;
  part.rank = rank;
  part.ranks = parallel.pipeline_model_parallel_size;
  part.chunks = placement.virtual_size;
  part.span = stage_span(placement);
  part.group_size = parallel.microbatch_group_size_per_virtual_pipeline_stage;
  if (parallel.overlap_p2p_communication) part.messages = MessageTiming::kEarly;
  return part;
}

void check_placement(const ModelSpec& spec, const LayerPlacement& placement) {
  const StageSpan span = stage_span(placement);
  const auto last = static_cast<int64_t>(placement.stages.size()) - 1;
  CONCLAVE_USER_CHECK(
      !spec.tied_embeddings || span.first == span.last || (span.first == 0 && span.last == last),
      "with tied embeddings the first pipeline stage must hold the embedding and the last one the loss; got stages {} "
      "and {} of {}; move E and L to the ends of --pipeline-model-parallel-layout, or add "
      "--untie-embeddings-and-output-weights",
      span.first, span.last, last + 1);
  if (spec.predictions.empty()) return;
  CONCLAVE_USER_CHECK(placement.stages[static_cast<size_t>(span.last)].mtp_layers.size() == spec.predictions.size(),
                      "prediction layers (m) must stand in the stage of the loss (L); got others there; move them in "
                      "--pipeline-model-parallel-layout");
  CONCLAVE_USER_CHECK(spec.positions != PositionKind::kLearned || span.first == span.last,
                      "prediction layers in another pipeline stage than the embedding cannot read learned positions; "
                      "got stages {} and {}; use --position-embedding-type rope",
                      span.last, span.first);
}

std::vector<std::unique_ptr<GptChunk>> make_chunks(ParameterStore& store, Device& device, const ChunksArgs& args) {
  check_placement(args.spec, args.placement);
  std::vector<std::unique_ptr<GptChunk>> chunks;
  for (int64_t i = 0; i < args.placement.virtual_size; ++i) {
    const StagePlacement& stage = args.placement.at(args.pipeline_rank, i);
    const ChunkRange range{stage.first_layer, stage.first_layer + stage.layers, stage.embedding, stage.loss};
    chunks.push_back(std::make_unique<GptChunk>(store, device, args.spec, range, args.recompute, args.part));
  }
  return chunks;
}

std::vector<const GptChunk*> pointers(const std::vector<std::unique_ptr<GptChunk>>& chunks) {
  std::vector<const GptChunk*> out;
  for (const auto& chunk : chunks) out.push_back(chunk.get());
  return out;
}

PipelineStepArgs training_step_args(const PipelinePart& part, int64_t micro_batches) {
  return step_args(part, micro_batches, PipelineWork::kTraining);
}

std::vector<StepAction> training_actions(const PipelinePart& part, int64_t micro_batches) {
  return pipeline_step(training_step_args(part, micro_batches), part.rank);
}

std::vector<StepAction> evaluation_actions(const PipelinePart& part, int64_t micro_batches) {
  return pipeline_step(step_args(part, micro_batches, PipelineWork::kForwardOnly), part.rank);
}

}  // namespace conclave
