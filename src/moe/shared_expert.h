// An expert that every token passes, with an optional gate: out = mlp(x) * sigmoid(x Wg^T).
#pragma once

#include <string>

#include "layers/mlp.h"

namespace conclave {

struct SharedExpertSaved {
  SavedTensor input;  ///< [S,B,H]
  MlpSaved mlp;
  Tensor value;  ///< [S,B,H], the MLP's output; gated only
  Tensor gate;   ///< [T] f32, before the sigmoid; gated only
};

class SharedExpert {
 public:
  /// Parameters name.linear_fc1.*, name.linear_fc2.* and, if gated, name.gate_weight [1,H].
  SharedExpert(ParameterStore& store, const MlpConfig& config, bool gated);
  Tensor forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, SharedExpertSaved* saved) const;
  /// dx [S,B,H].
  Tensor backward(const Context& context, const Tensor& dy, const SharedExpertSaved& saved) const;

 private:
  Mlp mlp_;
  Parameter* gate_ = nullptr;

  Tensor gate_backward(const Context& context, const Tensor& dy, const SharedExpertSaved& saved, Tensor* dgate) const;
};

}  // namespace conclave
