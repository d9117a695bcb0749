// Micro-batches from host to device, cut to what this rank of a layout computes.
#pragma once

#include "config/options.h"
#include "data/batch_source.h"
#include "layout/model_part.h"
#include "pipeline/executor.h"
#include "spec/model_spec.h"

namespace conclave {

/// Valid tokens of a micro-batch, of all its positions.
double valid_tokens(const MicroBatch& batch);
/// Positions 0..S-1 in every sequence, every token counts, ordinals from `first_ordinal` on; tokens and labels 0.
MicroBatch plain_batch(int64_t batch, int64_t seq_length, int64_t first_ordinal);

/// The positions of a sequence of S that a context-parallel rank has: chunks r and 2*CP-1-r of 2*CP.
std::vector<SequencePiece> sequence_pieces(int64_t sequence, const Slice& context);

class BatchUploader {
 public:
  /// Losses weigh 1/(valid tokens * micro-batches of the step), or 1 with --calculate-per-token-loss.
  BatchUploader(Device& device, const ModelSpec& spec, const ModelPart& part, bool per_token_loss);

  /// `row_weight`: d objective / d loss of each valid token.
  DeviceBatch upload(const MicroBatch& batch, double row_weight) const;
  /// With the fields of prediction depths. `micro_batches`: of the step, over all data-parallel ranks.
  DeviceBatch upload_for_step(const MicroBatch& batch, int64_t micro_batches) const;

 private:
  Device& device_;
  const ModelSpec& spec_;
  Slice context_;
  bool per_token_loss_;

  template <typename T>
  std::vector<T> columns(const MicroBatch& batch, const std::vector<T>& whole) const;
  Tensor fields(const MicroBatch& batch, const std::vector<int32_t>& whole) const;
  LossTargets targets(const MicroBatch& batch, const std::vector<int32_t>& labels, const std::vector<float>& mask,
                      double weight) const;
};

}  // namespace conclave
