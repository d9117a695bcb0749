#include "layers/norm.h"

namespace conclave {
namespace {

Parameter* declare_vector(ParameterStore& store, const std::string& name, const NormConfig& config, int64_t width,
                          Initializer init, ParameterRole role, bool decay) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole({width});
  spec.init = init;
  spec.role = role;
  spec.weight_decay = decay;
  replicate_over_tensor(spec, config.replicas, config.partial);
  return store.declare(spec);
}

}  // namespace

Norm::Norm(ParameterStore& store, const std::string& name, const NormConfig& config, int64_t width, bool weight_decay)
    : config_(config) {
  const Initializer one = config.one_plus ? Initializer::zeros() : Initializer::ones();
  weight_ = declare_vector(store, name + ".weight", config, width, one, ParameterRole::kNorm, weight_decay);
  if (config.kind == kernels::NormKind::kLayer)
    bias_ = declare_vector(store, name + ".bias", config, width, Initializer::zeros(), ParameterRole::kBias, false);
}

void Norm::run(const Context& context, const Tensor& x, const Tensor& y, const Tensor& mean, const Tensor& rstd) const {
  const Weight weight(context.store, *weight_);
  kernels::NormForwardArgs args{.kind = config_.kind,
                                .x = x.as_matrix(),
                                .weight = weight.tensor(),
                                .bias = {},
                                .y = y.as_matrix(),
                                .mean = mean,
                                .rstd = rstd,
                                .epsilon = config_.epsilon,
                                .weight_offset = config_.one_plus ? 1.0f : 0.0f};
  if (bias_ != nullptr) args.bias = context.store.acquire(*bias_);
  kernels::norm_forward(context.stream, args);
  if (bias_ != nullptr) context.store.release(*bias_);
}

Tensor Norm::forward(const Context& context, const SavedTensor& x, const Tensor& x_value, NormSaved* saved) const {
  const Tensor y = context.empty(x_value.shape(), x_value.dtype(), weight_->spec.name.c_str());
  Tensor mean, rstd;
  if (context.with_gradient) {
    const int64_t rows = x_value.as_matrix().size(0);
    rstd = context.empty({rows}, DType::kF32, "norm.rstd");
    if (config_.kind == kernels::NormKind::kLayer) mean = context.empty({rows}, DType::kF32, "norm.mean");
    *saved = {x, mean, rstd};
  }
  run(context, x_value, y, mean, rstd);
  return y;
}

Tensor Norm::again(const Context& context, const Tensor& x) const {
  const Tensor y = context.empty(x.shape(), x.dtype(), weight_->spec.name.c_str());
  run(context, x, y, {}, {});
  return y;
}

Tensor Norm::backward(const Context& context, const Tensor& dy, const NormSaved& saved, const Tensor& residual) const {
  const Tensor dx = context.empty(dy.shape(), dy.dtype(), weight_->spec.name.c_str());
  const Weight weight(context.store, *weight_);
  kernels::NormBackwardArgs args{.kind = config_.kind,
                                 .dy = dy.as_matrix(),
                                 .x = saved.x.get().as_matrix(),
                                 .weight = weight.tensor(),
                                 .mean = saved.mean,
                                 .rstd = saved.rstd,
                                 .dx = dx.as_matrix(),
                                 .dweight = context.store.gradient(*weight_),
                                 .dbias = bias_ != nullptr ? context.store.gradient(*bias_) : Tensor(),
                                 .weight_offset = config_.one_plus ? 1.0f : 0.0f,
                                 .residual = residual.defined() ? residual.as_matrix() : Tensor()};
  kernels::norm_backward(context.stream, args);
  context.store.gradient_complete(*weight_);
  if (bias_ != nullptr) context.store.gradient_complete(*bias_);
  return dx;
}

}  // namespace conclave
