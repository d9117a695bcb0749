// The router's product: logits [T,E] = x [T,H] W^T + b in the router dtype.
#pragma once

#include "moe/router_config.h"
#include "nn/context.h"

namespace conclave {

class Gate {
 public:
  /// Declares name.weight [E,H] and, with a linear bias, name.bias [E], both in the parameters' dtype.
  Gate(ParameterStore& store, const RouterConfig& config);

  Tensor forward(const Context& context, const Tensor& x) const;
  /// Adds dlogits W to dx [T,H]; enqueues dW += dlogits^T x and db += column sums. x [..,H].
  void backward(const Context& context, const Tensor& dlogits, const SavedTensor& x, const Tensor& dx) const;

 private:
  int64_t experts_;
  std::optional<DType> dtype_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;

  void add_weight_gradient(const Stream& stream, ParameterStore& store, const Tensor& dlogits, const Tensor& x) const;
};

}  // namespace conclave
