#include "layers/linear.h"

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave {

Linear::Linear(ParameterStore& store, const Config& config) : config_(config) {
  ParameterSpec weight;
  weight.name = config.name + ".weight";
  weight.shard = ShardSpec::whole({config.out, config.in});
  weight.init = config.init;
  weight.role = config.role;
  weight_ = store.declare(weight);
  if (config.bias) {
    ParameterSpec bias;
    bias.name = config.name + ".bias";
    bias.shard = ShardSpec::whole({config.out});
    bias.init = config.bias_init;
    bias.role = ParameterRole::kBias;
    bias.weight_decay = false;
    bias_ = store.declare(bias);
  }
}

Tensor Linear::forward(const Context& context, const Tensor& x) const {
  std::vector<int64_t> sizes = x.shape().to_vector();
  sizes.back() = config_.out;
  const Tensor y = context.empty(Shape(sizes), weight_->spec.name.c_str());
  const Weight weight(context.store, *weight_);
  const Tensor bias = bias_ != nullptr ? context.store.acquire(*bias_) : Tensor();
  kernels::linear_forward(context.stream, x.as_matrix(), weight.tensor(), bias, y.as_matrix());
  if (bias_ != nullptr) context.store.release(*bias_);
  context.observe(config_.name, y);
  return y;
}

Tensor Linear::backward(const Context& context, const Tensor& dy, const SavedTensor& x) const {
  std::vector<int64_t> sizes = dy.shape().to_vector();
  sizes.back() = config_.in;
  const Tensor dx = context.empty(Shape(sizes), weight_->spec.name.c_str());
  backward_into(context, dy, x, dx, false);
  return dx;
}

void Linear::backward_into(const Context& context, const Tensor& dy, const SavedTensor& x, const Tensor& dx,
                           bool add) const {
  {
    const Weight weight(context.store, *weight_);
    kernels::linear_input_gradient(context.stream, dy.as_matrix(), weight.tensor(), dx.as_matrix(),
                                   add ? kernels::Accumulate::kAdd : kernels::Accumulate::kOverwrite);
  }
  context.observe(config_.name + ".grad", dx);
  enqueue_weight_gradient(context, dy, x);
}

void Linear::enqueue_weight_gradient(const Context& context, const Tensor& dy, const SavedTensor& x) const {
  context.weight_gradients.add(context.batch.index, [this, stream = context.stream, store = &context.store, dy, x] {
    const Tensor rows = dy.as_matrix();
    kernels::linear_weight_gradient(stream, rows, x.get().as_matrix(), store->gradient(*weight_));
    store->gradient_complete(*weight_);
    if (bias_ == nullptr) return;
    kernels::column_sum(stream, {.x = rows, .out = store->gradient(*bias_)});
    store->gradient_complete(*bias_);
  });
}

}  // namespace conclave
