// A GPT whose layers are listed by a ModelSpec, or the part of one that a pipeline stage holds: embedding, layers,
// final norm, output loss.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "layers/embedding.h"
#include "layers/output_loss.h"
#include "memory/save_policy.h"
#include "models/prediction.h"
#include "models/transformer_layer.h"
#include "spec/model_spec.h"

namespace conclave {

/// The layers [begin, end) of the model, and what stands before and after them. Numbers and names are those of the
/// whole model, so that a layout changes no name, no random stream and no weight.
struct ChunkRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool embedding = true;
  bool output = true;
};

/// One micro-batch's state in one chunk.
struct ChunkState {
  Tensor tokens;  ///< [B,S] i32, first chunk
  std::vector<LayerState> layers;
  std::vector<SavedTensor> group_inputs;  ///< of groups that are recomputed
  NormSaved final_norm;
  SavedTensor final_hidden;  ///< [S,B,H], input of the output product
  std::vector<PredictionState> predictions;
};

class GptChunk {
 public:
  /// A chunk with the output but without the embedding holds a copy of the token table where embeddings are tied or
  /// tokens are predicted further ahead; both stages declare it as shared (nn/parameter.h).
  GptChunk(ParameterStore& store, Device& device, const ModelSpec& spec, const ChunkRange& range,
           const FullRecompute& recompute, const ModelPart& part = {});

  /// Chunk with the embedding: tokens [B,S] -> hidden; others take the message of the one before. After the chunk with
  /// the output the message is the input of the output product. A chunk without layers hands the message on.
  LayerMessage forward(const Context& context, const Tensor& tokens, const LayerMessage& in, ChunkState* state) const;

  /// Last chunk: loss and its gradient at the message. `further`: targets of the prediction depths, whose backward is
  /// part of this.
  LossResult loss_and_gradient(const Context& context, ChunkState* state, const LossTargets& targets,
                               std::span<const LossTargets> further) const;
  LossResult loss(const Context& context, const LayerMessage& hidden, const LossTargets& targets) const;
  Tensor logits(const Context& context, const Tensor& hidden) const { return output_->logits(context, hidden); }

  /// From the gradient of forward()'s result to the gradient of its input; the first chunk returns nothing.
  LayerMessage backward(const Context& context, const LayerMessage& dout, ChunkState* state) const;

  const std::vector<std::unique_ptr<TransformerLayer>>& layers() const { return layers_; }
  /// Those with experts, of the prediction depths too.
  const std::vector<TransformerLayer*>& moe_layers() const { return moe_layers_; }
  int64_t prediction_depths() const { return static_cast<int64_t>(predictions_.size()); }
  const ModelSpec& spec() const { return spec_; }
  const ChunkRange& range() const { return range_; }

 private:
  ModelSpec spec_;
  ChunkRange range_;
  std::vector<LayerGroup> groups_;  ///< of this chunk's layers, from 0
  std::unique_ptr<Embedding> embedding_;
  std::vector<std::unique_ptr<TransformerLayer>> layers_;
  std::unique_ptr<Norm> final_norm_;
  std::unique_ptr<OutputLoss> output_;
  std::vector<std::unique_ptr<PredictionDepth>> predictions_;
  std::vector<TransformerLayer*> moe_layers_;

  LayerMessage forward_group(const Context& context, const LayerGroup& group, LayerMessage message,
                             ChunkState* state) const;
};

}  // namespace conclave
