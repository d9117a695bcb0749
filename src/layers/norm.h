// RMSNorm or LayerNorm with its weights.
#pragma once

#include <string>

#include "kernels/norm.h"
#include "nn/context.h"

namespace conclave {

struct NormConfig {
  kernels::NormKind kind = kernels::NormKind::kRms;
  double epsilon = 1e-5;
  bool one_plus = false;  ///< weight stored minus one
  Slice replicas;         ///< TP: every rank holds the weights
  bool partial = false;   ///< every TP rank norms other rows
};

/// What the backward of a norm needs.
struct NormSaved {
  SavedTensor x;
  Tensor mean, rstd;  ///< [R] f32; mean for LayerNorm only
};

class Norm {
 public:
  /// Parameters name.weight [W] and, for LayerNorm, name.bias [W].
  Norm(ParameterStore& store, const std::string& name, const NormConfig& config, int64_t width,
       bool weight_decay = false);

  /// x [..., W] -> y. `saved` takes what backward needs if a backward follows.
  Tensor forward(const Context& context, const SavedTensor& x, const Tensor& x_value, NormSaved* saved) const;
  /// y again, from the saved x: the closure of output-discarding recomputation.
  Tensor again(const Context& context, const Tensor& x) const;
  /// dx = gradient, plus `residual` (the gradient that passes the norm by) if given; the weights' gradients are small
  /// and are added at once.
  Tensor backward(const Context& context, const Tensor& dy, const NormSaved& saved, const Tensor& residual = {}) const;

 private:
  NormConfig config_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;
  void run(const Context& context, const Tensor& x, const Tensor& y, const Tensor& mean, const Tensor& rstd) const;
};

}  // namespace conclave
