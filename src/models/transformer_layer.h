// A pre-norm transformer layer in phases: attention and router, dispatch, experts, combine. The executor runs them in
// order or merges those of two micro-batches; dense layers have empty dispatch and combine.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "layers/attention.h"
#include "layers/latent_attention.h"
#include "layers/mlp.h"
#include "layers/norm.h"
#include "moe/moe_layer.h"

namespace conclave {

struct TransformerLayerConfig {
  std::string name;   ///< "decoder.layers.0"
  int64_t index = 0;  ///< in the whole model; prediction layers come after the decoder's
  NormConfig norm;
  int64_t hidden = 0;
  double hidden_dropout = 0;
  std::unique_ptr<AttentionConfig> attention;  ///< one of the two
  std::unique_ptr<LatentAttentionConfig> latent_attention;
  std::unique_ptr<MlpConfig> mlp;  ///< one of the two
  std::unique_ptr<MoeLayerConfig> moe;
};

/// What travels between layers and stages.
struct LayerMessage {
  Tensor hidden;  ///< [S,B,H]
};

/// One micro-batch's state in one layer.
struct LayerState {
  SavedTensor input;            ///< [S,B,H]
  SavedTensor attention_input;  ///< after the first norm; "layernorm"
  NormSaved input_norm;
  AttentionSaved attention;
  SavedTensor middle;     ///< [S,B,H], after attention
  SavedTensor ffn_input;  ///< after the second norm; "layernorm"
  NormSaved ffn_norm;
  MlpSaved mlp;
  MoeSaved moe;
  bool needs_ffn_again = false;  ///< the FFN's own state was discarded
  // In flight.
  Tensor middle_value, ffn_value;
  Tensor dprobs, dffn_out, dffn_input;
};

class TransformerLayer {
 public:
  TransformerLayer(ParameterStore& store, Device& device, const TransformerLayerConfig& config);

  // Forward phases.
  void attention_and_route(const Context& context, const LayerMessage& in, LayerState* state) const;
  void dispatch(const Context& context, LayerState* state) const;
  void experts(const Context& context, LayerState* state) const;
  LayerMessage combine(const Context& context, LayerState* state) const;

  // Backward phases; the message holds the gradient of `hidden`.
  void combine_backward(const Context& context, const LayerMessage& dout, LayerState* state) const;
  void experts_backward(const Context& context, LayerState* state) const;
  void dispatch_backward(const Context& context, LayerState* state) const;
  LayerMessage attention_and_route_backward(const Context& context, LayerState* state) const;

  LayerMessage forward(const Context& context, const LayerMessage& in, LayerState* state) const;
  LayerMessage backward(const Context& context, const LayerMessage& dout, LayerState* state) const;

  /// Full recomputation: drops everything but the routing; a forward in Pass::kAgain makes it anew.
  void discard(LayerState* state) const;

  bool is_moe() const { return moe_ != nullptr; }
  const MoeLayer& moe() const { return *moe_; }
  MoeLayer& moe() { return *moe_; }
  int64_t index() const { return index_; }

 private:
  int64_t index_;
  double hidden_dropout_;
  std::string name_;
  Norm input_norm_;
  std::unique_ptr<SelfAttention> attention_;
  Norm ffn_norm_;
  std::unique_ptr<Mlp> mlp_;
  std::unique_ptr<MoeLayer> moe_;

  Tensor add_dropped(const Context& context, const Tensor& x, const Tensor& residual, const char* place) const;
  Tensor dropped_gradient(const Context& context, const Tensor& dy, const char* place) const;
  bool reruns_ffn(const Context& context) const;
  void run_ffn_again(const Context& context, LayerState* state) const;
};

}  // namespace conclave
