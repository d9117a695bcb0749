#include "layers/linear.h"

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave {

namespace {

int64_t local_rows(const Linear::Config& config) {
  if (config.rows.empty()) return config.out;
  int64_t sum = 0;
  for (const OutputRows& rows : config.rows) sum += rows.size;
  return sum;
}

// [out] or [out, in], cut as the config says.
void cut(const Linear::Config& config, ParameterSpec& spec) {
  std::vector<int64_t>& shape = spec.shard.global_shape;
  if (!config.rows.empty()) {
    std::vector<std::pair<int64_t, int64_t>> intervals;
    for (const OutputRows& rows : config.rows) {
      intervals.emplace_back(rows.begin, rows.size);
      spec.replica.push_back(rows.replica ? 1 : 0);
    }
    spec.local_shape = shape;
    spec.local_shape[0] = local_rows(config);
    spec.shard = ShardSpec::intervals(std::vector<int64_t>(shape), 0, intervals);
  } else if (!config.input.is_whole() && shape.size() == 2) {
    const int64_t share = config.input.share(config.in);
    spec.local_shape = {shape[0], share};
    spec.shard = ShardSpec::intervals(std::vector<int64_t>(shape), 1, {{config.input.begin(config.in), share}});
  } else {
    // The bias of a row-parallel product sees the gradient of the whole sum on every rank.
    const bool alone = config.input.is_whole();
    replicate_over_tensor(spec, alone ? config.replicas : config.input, alone && config.partial);
  }
}

}  // namespace

Linear::Linear(ParameterStore& store, const Config& config)
    : config_(config), local_in_(config.input.share(config.in)), local_out_(local_rows(config)) {
  CONCLAVE_CHECK(config.in % config.input.size == 0, "'{}': {} inputs over {} ranks", config.name, config.in,
                 config.input.size);
  ParameterSpec weight;
  weight.name = config.name + ".weight";
  weight.shard = ShardSpec::whole({config.out, config.in});
  weight.init = config.init;
  weight.role = config.role;
  cut(config, weight);
  weight_ = store.declare(weight);
  if (config.bias) {
    ParameterSpec bias;
    bias.name = config.name + ".bias";
    bias.shard = ShardSpec::whole({config.out});
    bias.init = config.bias_init;
    bias.role = ParameterRole::kBias;
    bias.weight_decay = false;
    cut(config, bias);
    bias_ = store.declare(bias);
  }
}

Tensor Linear::forward(const Context& context, const Tensor& x) const {
  std::vector<int64_t> sizes = x.shape().to_vector();
  sizes.back() = local_out_;
  const Tensor y = context.empty(Shape(sizes), weight_->spec.name.c_str());
  const Weight weight(context.store, *weight_);
  // Of partial sums one alone carries the bias.
  const bool adds_bias = bias_ != nullptr && config_.input.rank == 0;
  const Tensor bias = adds_bias ? context.store.acquire(*bias_) : Tensor();
  kernels::linear_forward(context.stream, x.as_matrix(), weight.tensor(), bias, y.as_matrix());
  if (adds_bias) context.store.release(*bias_);
  context.observe(config_.name, y);
  return y;
}

Tensor Linear::backward(const Context& context, const Tensor& dy, const SavedTensor& x) const {
  const Tensor dx = input_gradient(context, dy);
  enqueue_weight_gradient(context, dy, x);
  return dx;
}

Tensor Linear::input_gradient(const Context& context, const Tensor& dy) const {
  std::vector<int64_t> sizes = dy.shape().to_vector();
  sizes.back() = local_in_;
  const Tensor dx = context.empty(Shape(sizes), weight_->spec.name.c_str());
  const Weight weight(context.store, *weight_);
  kernels::linear_input_gradient(context.stream, dy.as_matrix(), weight.tensor(), dx.as_matrix());
  context.observe(config_.name + ".grad", dx);
  return dx;
}

void Linear::add_input_gradient(const Context& context, const Tensor& dy, const Tensor& dx) const {
  const Weight weight(context.store, *weight_);
  kernels::linear_input_gradient(context.stream, dy.as_matrix(), weight.tensor(), dx.as_matrix(),
                                 kernels::Accumulate::kAdd);
  context.observe(config_.name + ".grad", dx);
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
