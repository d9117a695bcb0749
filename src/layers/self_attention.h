// What a transformer layer asks of an attention; its kinds stand beside this file.
#pragma once

#include <memory>

#include "layers/attention_core.h"
#include "layers/norm.h"

namespace conclave {

/// What the backward of an attention needs.
struct AttentionSaved {
  SavedTensor input;  ///< [S,B,H]
  AttentionCoreSaved core;
  NormSaved q_norm, k_norm;          ///< of heads; latent attention: of the latents
  SavedTensor q_latent, key_latent;  ///< latent attention: inputs of the up projections
  SavedTensor shared_key;            ///< latent attention: [S,B,D'], not rotated
};

class SelfAttention {
 public:
  virtual ~SelfAttention() = default;
  /// x [S,B,H] -> [S,B,H]. With a cache in the context, earlier positions come from there and the new ones go in.
  virtual Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                         AttentionSaved* saved) const = 0;
  /// dy [S,B,H] -> dx [S,B,H].
  virtual Tensor backward(const Context& context, const Tensor& dy, const AttentionSaved& saved) const = 0;
};

/// Rotation of heads.
struct RopeConfig {
  std::vector<float> frequencies;  ///< [rotated/2]
  bool interleaved = false;
  float scale = 1;  ///< multiplies cosines and sines
};

class Rotation {
 public:
  Rotation(Device& device, const RopeConfig& config);
  /// Turns the first elements of each head of x [B,n,S,D], in place; `inverse`: gradients.
  void turn(const Context& context, const Tensor& x, bool inverse) const;

 private:
  RopeConfig config_;
  Tensor frequencies_;
};

}  // namespace conclave
