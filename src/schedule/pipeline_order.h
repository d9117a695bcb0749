// The order of forwards and backwards on each rank of a pipeline: one-forward-one-backward, interleaved over several
// chunks of the model, and with the forward of one micro-batch merged into the backward of another. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace conclave {

enum class PipelineWork { kTraining, kForwardOnly };

struct PipelineShape {
  int64_t pipeline_size = 1;  ///< ranks
  int64_t virtual_size = 1;   ///< chunks of a rank; above 1: interleaved
  int64_t micro_batches = 1;
  int64_t group_size = 0;  ///< micro-batches that visit a chunk in a row; 0: pipeline_size
  bool merged = false;     ///< a forward and a backward run as one step, so that experts' exchanges hide under compute
  PipelineWork work = PipelineWork::kTraining;
};

/// Throws UserError where the numbers do not fit (group size, merged steps without chunks, ...).
void check_pipeline_shape(const PipelineShape& shape);

/// One micro-batch in one chunk.
struct ChunkStep {
  int64_t micro_batch = 0;
  int64_t chunk = 0;

  bool operator==(const ChunkStep&) const = default;
};

/// Forward order of an interleaved rank: groups of `group_size` micro-batches visit chunk 0, then chunk 1, ... Backward
/// takes the same table with the chunks mirrored. No check of the numbers.
std::vector<ChunkStep> interleaved_table(int64_t micro_batches, int64_t chunks, int64_t group_size);

struct WarmupCount {
  int64_t total = 0;      ///< micro-batches times chunks
  int64_t warmup = 0;     ///< forwards before the first backward (all, if forward only)
  int64_t remaining = 0;  ///< total - warmup
};
WarmupCount warmup_count(const PipelineShape& shape, int64_t pipeline_rank);

enum class PipelineActionKind { kForward, kBackward, kMerged };

struct PipelineAction {
  PipelineActionKind kind = PipelineActionKind::kForward;
  ChunkStep forward;   ///< kForward, kMerged
  ChunkStep backward;  ///< kBackward, kMerged

  bool operator==(const PipelineAction&) const = default;
};

/// An explicit call before action number `actions_done`.
struct SyncCall {
  int64_t actions_done = 0;
  int64_t chunk = 0;

  bool operator==(const SyncCall&) const = default;
};

/// Who starts the exchange of gradients and parameters: the last backward of a chunk by itself, or calls at places that
/// all ranks of a pipeline reach at about the same time.
enum class PipelineSync { kByBackward, kByCalls };

struct RankOrder {
  std::vector<PipelineAction> actions;
  std::vector<ChunkStep> reducing_backwards;  ///< backwards that start the reduction of their chunk's gradients
  std::vector<SyncCall> gradient_calls;       ///< kByCalls
  std::vector<SyncCall> parameter_calls;      ///< kByCalls
};

RankOrder pipeline_order(const PipelineShape& shape, int64_t pipeline_rank,
                         PipelineSync sync = PipelineSync::kByBackward);

/// "F0.0 F1.0 FB2.0/0.1 B0.1", micro-batch before the dot, chunk behind it.
std::string pipeline_text(const std::vector<PipelineAction>& actions);

}  // namespace conclave
