// y = x W^T + b, with the weight gradient as deferred work.
#pragma once

#include <string>

#include "nn/context.h"

namespace conclave {

class Linear {
 public:
  struct Config {
    std::string name;  ///< "decoder.layers.0.self_attention.linear_qkv"; parameters are name.weight and name.bias
    int64_t in = 0;
    int64_t out = 0;
    bool bias = false;
    Initializer init;
    Initializer bias_init = Initializer::zeros();
    ParameterRole role = ParameterRole::kMatrix;
  };
  Linear(ParameterStore& store, const Config& config);

  /// x [..., in] -> [..., out] of the compute dtype.
  Tensor forward(const Context& context, const Tensor& x) const;
  /// dy [..., out] -> dx [..., in]; enqueues dW += dy^T x and db += column sums.
  Tensor backward(const Context& context, const Tensor& dy, const SavedTensor& x) const;
  /// The same, with dx added to what stands in `dx`.
  void backward_into(const Context& context, const Tensor& dy, const SavedTensor& x, const Tensor& dx, bool add) const;

  const Parameter& weight() const { return *weight_; }

 private:
  Config config_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;
  void enqueue_weight_gradient(const Context& context, const Tensor& dy, const SavedTensor& x) const;
};

}  // namespace conclave
