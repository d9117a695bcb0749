// The dense feed-forward network: FC1, activation, FC2.
#pragma once

#include <memory>
#include <string>

#include "kernels/activation.h"
#include "layers/linear.h"

namespace conclave {

struct MlpConfig {
  std::string name;  ///< "decoder.layers.0.mlp"
  int64_t hidden = 0;
  int64_t width = 0;  ///< F
  kernels::ActivationKind activation = kernels::ActivationKind::kSwiGlu;
  bool bias = false;
  float clamp = 0;
  float linear_offset = 0;
  Initializer init, output_init;
  Slice tensor;                    ///< cut over TP: F of FC1's outputs (of both halves, if gated) and of FC2's inputs
  bool sequence_parallel = false;  ///< x is this TP rank's positions
};

struct MlpSaved {
  SavedTensor input;   ///< [..., H]
  Tensor fc1;          ///< [R, F or 2F] of this rank
  SavedTensor hidden;  ///< [R, F] of this rank, activation output
};

class Mlp {
 public:
  Mlp(ParameterStore& store, const MlpConfig& config);
  /// x [..., H] -> [..., H]; with sequence parallelism both are this rank's positions.
  Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, MlpSaved* saved) const;
  Tensor backward(const Context& context, const Tensor& dy, const MlpSaved& saved) const;

 private:
  MlpConfig config_;
  Linear fc1_, fc2_;
  Tensor activate(const Context& context, const Tensor& fc1) const;
};

}  // namespace conclave
