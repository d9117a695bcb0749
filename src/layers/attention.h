// Multi-head self-attention with grouped key/value heads: fused QKV projection, optional norm of q and k, rotation,
// blockwise softmax attention, output projection.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "nn/kv_cache.h"

namespace conclave {

struct RopeConfig {
  std::vector<float> frequencies;  ///< [rotated/2]
  bool interleaved = false;
};

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
  std::optional<RopeConfig> rope;
  Initializer init, output_init;
};

/// What the backward of attention needs.
struct AttentionSaved {
  SavedTensor input;            ///< [S,B,H]
  Tensor q, k, v;               ///< [B,n,S,D], [B,g,S,D], rotated
  NormSaved q_norm, k_norm;     ///< hold the un-normalised heads
  SavedTensor out;              ///< [S,B,n*D]; "core_attn"
  std::shared_ptr<Tensor> lse;  ///< [B,n,S] f32, made together with `out`
};

class Attention {
 public:
  Attention(ParameterStore& store, Device& device, const AttentionConfig& config);

  /// x [S,B,H] -> [S,B,H]. With a cache in the context, keys and values of earlier positions come from there and the
  /// new ones go in.
  Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, AttentionSaved* saved) const;
  /// dy [S,B,H] -> dx [S,B,H].
  Tensor backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const;

 private:
  AttentionConfig config_;
  Linear qkv_, projection_;
  std::unique_ptr<Norm> q_norm_, k_norm_;
  Tensor frequencies_;

  void rotate(const Context& context, const Tensor& x, bool inverse) const;
  kernels::AttentionMask mask(const Context& context) const;
  kernels::AttentionDropout dropout(const Context& context) const;
  Tensor core(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v, Tensor* lse) const;
  Tensor core_from_cache(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v) const;
};

}  // namespace conclave
