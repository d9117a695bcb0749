// Multi-head latent attention (DeepSeek-V2, 2024): keys and values are made from a small latent vector, which is all
// that generation keeps; one rotated key part is shared by all heads.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "layers/linear.h"
#include "layers/self_attention.h"

namespace conclave {

struct LatentAttentionConfig {
  std::string name;  ///< "decoder.layers.0.self_attention"
  int64_t layer = 0;
  int64_t hidden = 0;  ///< H
  int64_t heads = 0;   ///< n
  int64_t q_rank = 0;  ///< 0: queries come straight from the input
  int64_t kv_rank = 0;
  int64_t plain = 0;    ///< P, elements of a query or key head that do not rotate
  int64_t rotated = 0;  ///< D'
  int64_t value = 0;    ///< Dv
  int64_t window = 0;   ///< keys a query sees, itself included; 0 = all before it
  bool down_bias = false;
  bool projection_bias = false;
  std::optional<NormConfig> latent_norm;  ///< of the latents there are
  bool norm_decay = false;
  double softmax_scale = 1;
  double dropout = 0;
  AttentionSink sink = AttentionSink::kNone;
  Initializer sink_init = {};
  RopeConfig rope;
  Initializer init, output_init;
  Slice tensor;                    ///< cut over TP by heads: the up projections, linear_q_proj and linear_proj
  bool sequence_parallel = false;  ///< the down projections see this TP rank's positions
  ContextExchange context_exchange = ContextExchange::kRing;
};

/// Parameters: linear_q_proj, or linear_q_down_proj, q_layernorm and linear_q_up_proj; linear_kv_down_proj (rows of the
/// latent, then of the shared key), kv_layernorm, linear_kv_up_proj (per head key, then value), linear_proj.
class LatentAttention final : public SelfAttention {
 public:
  LatentAttention(ParameterStore& store, Device& device, const LatentAttentionConfig& config);
  Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                 AttentionSaved* saved) const override;
  Tensor backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const override;

 private:
  LatentAttentionConfig config_;
  int64_t heads_;  ///< of this rank
  std::unique_ptr<Linear> q_, q_down_, q_up_;
  std::unique_ptr<Norm> q_norm_, kv_norm_;
  Linear kv_down_, kv_up_, projection_;
  Rotation rotation_;
  AttentionCore core_;

  Tensor query_latent(const Context& context, const Tensor& x, AttentionSaved* saved) const;
  Tensor queries(const Context& context, const Tensor& from) const;
  AttentionHeads keys(const Context& context, const Tensor& latent, const Tensor& shared) const;
  void save_heads(const Context& context, const AttentionHeads& heads, AttentionSaved* saved) const;
  Tensor from_cache(const Context& context, const Tensor& q, const Tensor& latent, const Tensor& shared) const;
  Tensor query_backward(const Context& context, const Tensor& dq, const AttentionSaved& saved) const;
};

}  // namespace conclave
