// Multi-token prediction (DeepSeek-V3, 2024): after the decoder, depth k joins the previous depth's output with the
// embedding of the token k places further on, passes one more transformer layer and predicts one token further, with
// the decoder's embedding and output tables.
#pragma once

#include <memory>
#include <string>

#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "models/transformer_layer.h"
#include "spec/model_spec.h"

namespace conclave {

/// One micro-batch's state in one depth.
struct PredictionState {
  Tensor tokens;  ///< [B,S] i32, shifted
  NormSaved token_norm, hidden_norm, final_norm;
  SavedTensor joined;       ///< [S,B,2H], input of eh_proj
  SavedTensor layer_input;  ///< [S,B,H]
  LayerState layer;
  SavedTensor out;  ///< [S,B,H], after the depth's norm: input of the output product and of the next depth
};

class PredictionDepth {
 public:
  /// Parameters mtp.layers.{depth}.{enorm,hnorm,eh_proj,final_layernorm,mtp_model_layer.*}.
  PredictionDepth(ParameterStore& store, Device& device, const ModelSpec& spec, const ModelPart& part, int64_t depth,
                  bool recompute);

  /// hidden [S,B,H] of the depth before, or of the decoder after its norm; tokens [B,S] shifted to this depth.
  Tensor forward(const Context& context, const Embedding& embedding, const Tensor& tokens, const SavedTensor& hidden,
                 PredictionState* state) const;
  /// dout [S,B,H] -> gradient at `hidden`; enqueues the embedding's.
  Tensor backward(const Context& context, const Embedding& embedding, const Tensor& dout, PredictionState* state) const;

  TransformerLayer& layer() { return layer_; }

 private:
  std::string name_;
  bool recompute_;
  Norm token_norm_, hidden_norm_;
  Linear join_;
  TransformerLayer layer_;
  Norm final_norm_;
};

}  // namespace conclave
