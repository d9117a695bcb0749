#include "moe/shared_expert.h"

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave {

SharedExpert::SharedExpert(ParameterStore& store, const MlpConfig& config, bool gated) : mlp_(store, config) {
  if (!gated) return;
  ParameterSpec spec;
  spec.name = config.name + ".gate_weight";
  spec.shard = ShardSpec::whole({1, config.hidden});
  spec.init = config.init;
  replicate_over_tensor(spec, config.tensor, config.sequence_parallel);
  gate_ = store.declare(spec);
}

Tensor SharedExpert::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x,
                             SharedExpertSaved* saved) const {
  if (context.with_gradient) saved->input = x_saved;
  const Tensor value = mlp_.forward(context, x_saved, x, &saved->mlp);
  if (gate_ == nullptr) return value;
  const Tensor rows = x.as_matrix();
  const Tensor gate = context.empty({rows.size(0), 1}, DType::kF32, "shared_expert.gate");
  const Weight weight(context.store, *gate_);
  kernels::gemm(context.stream, {.a = rows, .b = weight.tensor(), .c = gate, .transpose_b = kernels::Transpose::kYes});
  const Tensor y = context.empty(x.shape(), "shared_expert.out");
  const Tensor gate_vector = gate.view({rows.size(0)});
  kernels::row_gate_forward(context.stream, {.value = value.as_matrix(), .gate = gate_vector, .y = y.as_matrix()});
  if (context.with_gradient) {
    saved->value = value;
    saved->gate = gate_vector;
  }
  return y;
}

Tensor SharedExpert::gate_backward(const Context& context, const Tensor& dy, const SharedExpertSaved& saved,
                                   Tensor* dgate) const {
  const int64_t rows = saved.gate.size(0);
  const Tensor dvalue = context.empty(dy.shape(), "shared_expert.dvalue");
  const Tensor dgate_f32 = context.empty({rows, 1}, DType::kF32, "shared_expert.dgate");
  kernels::row_gate_backward(context.stream, {.dy = dy.as_matrix(),
                                              .value = saved.value.as_matrix(),
                                              .gate = saved.gate,
                                              .dvalue = dvalue.as_matrix(),
                                              .dgate = dgate_f32.view({rows})});
  *dgate = dgate_f32;
  if (context.compute_dtype() != DType::kF32) {
    *dgate = context.empty({rows, 1}, "shared_expert.dgate");
    kernels::cast(context.stream, {.x = dgate_f32, .y = *dgate});
  }
  context.weight_gradients.add(context.batch.index, [this, stream = context.stream, store = &context.store,
                                                     dgate = *dgate, input = saved.input] {
    kernels::linear_weight_gradient(stream, dgate, input.get().as_matrix(), store->gradient(*gate_));
    store->gradient_complete(*gate_);
  });
  return dvalue;
}

Tensor SharedExpert::backward(const Context& context, const Tensor& dy, const SharedExpertSaved& saved) const {
  if (gate_ == nullptr) return mlp_.backward(context, dy, saved.mlp);
  Tensor dgate;
  const Tensor dvalue = gate_backward(context, dy, saved, &dgate);
  const Tensor dx = mlp_.backward(context, dvalue, saved.mlp);
  const Weight weight(context.store, *gate_);
  kernels::linear_input_gradient(context.stream, dgate, weight.tensor(), dx.as_matrix(), kernels::Accumulate::kAdd);
  return dx;
}

}  // namespace conclave
