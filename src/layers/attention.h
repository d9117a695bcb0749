// Multi-head self-attention with grouped key/value heads: fused QKV projection, optional norm of q and k, rotation,
// blockwise softmax attention, output projection.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "layers/linear.h"
#include "layers/self_attention.h"

namespace conclave {

struct AttentionConfig {
  std::string name;  ///< "decoder.layers.0.self_attention"
  int64_t layer = 0;
  int64_t hidden = 0;    ///< H
  int64_t heads = 0;     ///< n
  int64_t groups = 0;    ///< g
  int64_t head_dim = 0;  ///< D
  int64_t window = 0;    ///< keys a query sees, itself included; 0 = all before it
  bool qkv_bias = false;
  bool projection_bias = false;
  std::optional<NormConfig> qk_norm;
  bool qk_norm_decay = false;
  double softmax_scale = 1;
  double dropout = 0;
  AttentionSink sink = AttentionSink::kNone;
  Initializer sink_init = {};
  std::optional<RopeConfig> rope;
  Initializer init, output_init;
  Slice tensor;  ///< cut over TP by heads
  ContextExchange context_exchange = ContextExchange::kRing;
};

/// The heads of one TP rank. Where there are fewer key/value heads than ranks, each is held by several of them.
struct HeadShare {
  int64_t heads = 0, first_head = 0;    ///< query heads here
  int64_t groups = 0, first_group = 0;  ///< key/value heads here
  int64_t copies = 1;                   ///< ranks that hold the same key/value head
};
HeadShare head_share(int64_t heads, int64_t groups, const Slice& tensor);

class Attention final : public SelfAttention {
 public:
  Attention(ParameterStore& store, Device& device, const AttentionConfig& config);
  Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                 AttentionSaved* saved) const override;
  Tensor backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const override;

 private:
  AttentionConfig config_;
  HeadShare share_;
  Linear qkv_, projection_;
  std::unique_ptr<Norm> q_norm_, k_norm_;
  std::unique_ptr<Rotation> rotation_;
  AttentionCore core_;

  Tensor from_cache(const Context& context, const AttentionHeads& heads) const;
  Tensor merged(const Context& context, const AttentionHeads& gradient) const;
  Tensor qkv_backward(const Context& context, const AttentionHeads& gradient, const SavedTensor& input) const;
};

}  // namespace conclave
