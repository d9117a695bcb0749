#include "layers/mlp.h"

namespace conclave {

Mlp::Mlp(ParameterStore& store, const MlpConfig& config)
    : config_(config),
      fc1_(store, {.name = config.name + ".linear_fc1",
                   .in = config.hidden,
                   .out = config.width * (kernels::is_gated(config.activation) ? 2 : 1),
                   .bias = config.bias,
                   .init = config.init}),
      fc2_(store, {.name = config.name + ".linear_fc2",
                   .in = config.width,
                   .out = config.hidden,
                   .bias = config.bias,
                   .init = config.output_init}) {}

Tensor Mlp::activate(const Context& context, const Tensor& fc1) const {
  const Tensor y = context.empty({fc1.size(0), config_.width}, "mlp.activation");
  kernels::activation_forward(
      context.stream,
      {.kind = config_.activation, .x = fc1, .y = y, .clamp = config_.clamp, .linear_offset = config_.linear_offset});
  return y;
}

Tensor Mlp::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, MlpSaved* saved) const {
  const Tensor fc1 = fc1_.forward(context, x).as_matrix();
  const Tensor hidden = activate(context, fc1);
  if (context.with_gradient) *saved = {x_saved, fc1, SavedTensor(hidden)};
  return fc2_.forward(context, hidden).view(x.shape());
}

Tensor Mlp::backward(const Context& context, const Tensor& dy, const MlpSaved& saved) const {
  const Tensor dhidden = fc2_.backward(context, dy.as_matrix(), saved.hidden);
  const Tensor dfc1 = context.empty(saved.fc1.shape(), "mlp.dfc1");
  kernels::activation_backward(context.stream, {.kind = config_.activation,
                                                .dy = dhidden,
                                                .x = saved.fc1,
                                                .dx = dfc1,
                                                .clamp = config_.clamp,
                                                .linear_offset = config_.linear_offset});
  return fc1_.backward(context, dfc1, saved.input).view(dy.shape());
}

}  // namespace conclave
