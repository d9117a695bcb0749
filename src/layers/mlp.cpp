#include "layers/mlp.h"

#include "layers/tensor_region.h"

namespace conclave {
namespace {

// This rank's columns of FC1: of the gate and of the linear half, if there are two.
std::vector<OutputRows> fc1_rows(const MlpConfig& config) {
  if (config.tensor.is_whole()) return {};
  CONCLAVE_CHECK(config.width % config.tensor.size == 0, "'{}': width {} over {} ranks of TP", config.name,
                 config.width, config.tensor.size);
  const int64_t begin = config.tensor.begin(config.width), share = config.tensor.share(config.width);
  std::vector<OutputRows> rows = {{begin, share}};
  if (kernels::is_gated(config.activation)) rows.push_back({config.width + begin, share});
  return rows;
}

}  // namespace

Mlp::Mlp(ParameterStore& store, const MlpConfig& config)
    : config_(config),
      fc1_(store, {.name = config.name + ".linear_fc1",
                   .in = config.hidden,
                   .out = config.width * (kernels::is_gated(config.activation) ? 2 : 1),
                   .bias = config.bias,
                   .init = config.init,
                   .rows = fc1_rows(config)}),
      fc2_(store, {.name = config.name + ".linear_fc2",
                   .in = config.width,
                   .out = config.hidden,
                   .bias = config.bias,
                   .init = config.output_init,
                   .input = config.tensor}) {}

Tensor Mlp::activate(const Context& context, const Tensor& fc1) const {
  const Tensor y = context.empty({fc1.size(0), config_.tensor.share(config_.width)}, "mlp.activation");
  kernels::activation_forward(
      context.stream,
      {.kind = config_.activation, .x = fc1, .y = y, .clamp = config_.clamp, .linear_offset = config_.linear_offset});
  return y;
}

Tensor Mlp::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, MlpSaved* saved) const {
  const Tensor whole = enter_tensor_region(context, x, "mlp.input");
  const Tensor fc1 = fc1_.forward(context, whole).as_matrix();
  const Tensor hidden = activate(context, fc1);
  if (context.with_gradient) *saved = {x_saved, fc1, SavedTensor(hidden)};
  return leave_tensor_region(context, fc2_.forward(context, hidden).view(whole.shape()), "mlp.output");
}

Tensor Mlp::backward(const Context& context, const Tensor& dy, const MlpSaved& saved) const {
  const Tensor dwhole = enter_tensor_region(context, dy, "mlp.doutput");
  const Tensor dhidden = fc2_.backward(context, dwhole.as_matrix(), saved.hidden);
  const Tensor dfc1 = context.empty(saved.fc1.shape(), "mlp.dfc1");
  kernels::activation_backward(context.stream, {.kind = config_.activation,
                                                .dy = dhidden,
                                                .x = saved.fc1,
                                                .dx = dfc1,
                                                .clamp = config_.clamp,
                                                .linear_offset = config_.linear_offset});
  const Tensor dx = fc1_.backward(context, dfc1, entered(context, saved.input, "mlp.input")).view(dwhole.shape());
  return leave_tensor_region(context, dx, "mlp.dinput");
}

}  // namespace conclave
