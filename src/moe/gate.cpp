#include "moe/gate.h"

#include "kernels/elementwise.h"
#include "kernels/gemm.h"

namespace conclave {
namespace {

Tensor scratch(const Stream& stream, const Shape& shape, DType dtype) {
  return Tensor::empty(stream.device(), shape, dtype, {MemoryCategory::kWorkspace, "router.gate"});
}

/// x in `dtype`: itself, or a copy.
Tensor in_dtype(const Stream& stream, const Tensor& x, DType dtype) {
  if (!x.defined() || x.dtype() == dtype) return x;
  const Tensor out = scratch(stream, x.shape(), dtype);
  kernels::cast(stream, {.x = x, .y = out});
  return out;
}

/// target += x of another dtype, or of the same.
void add_into(const Stream& stream, const Tensor& x, const Tensor& target) {
  kernels::scale(stream,
                 {.x = in_dtype(stream, x, target.dtype()), .y = target, .accumulate = kernels::Accumulate::kAdd});
}

/// C += A^T B, for a C whose dtype need not be the product's own.
void add_product(const Stream& stream, const Tensor& a, const Tensor& b, const Tensor& c) {
  const DType own = a.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  if (c.dtype() == own) {
    kernels::linear_weight_gradient(stream, a, b, c);
    return;
  }
  const Tensor product = scratch(stream, c.shape(), own);
  kernels::gemm(stream, {.a = a, .b = b, .c = product, .transpose_a = kernels::Transpose::kYes});
  add_into(stream, product, c);
}

}  // namespace

Gate::Gate(ParameterStore& store, const RouterConfig& config) : experts_(config.experts), dtype_(config.dtype) {
  ParameterSpec weight;
  weight.name = config.name + ".weight";
  weight.shard = ShardSpec::whole({config.experts, config.hidden});
  weight.init = config.init;
  weight.role = ParameterRole::kRouter;
  replicate_over_tensor(weight, config.tensor, config.sequence_parallel);
  weight_ = store.declare(weight);
  if (!config.linear_bias) return;
  ParameterSpec bias;
  bias.name = config.name + ".bias";
  bias.shard = ShardSpec::whole({config.experts});
  bias.init = config.init;
  bias.role = ParameterRole::kBias;
  bias.weight_decay = false;
  bias.matrix_axes = 1;
  replicate_over_tensor(bias, config.tensor, config.sequence_parallel);
  bias_ = store.declare(bias);
}

Tensor Gate::forward(const Context& context, const Tensor& x) const {
  const Weight held(context.store, *weight_);
  Tensor weight = held.tensor(), rows = x.as_matrix();
  Tensor bias = bias_ != nullptr ? context.store.acquire(*bias_) : Tensor();
  const DType dtype = dtype_.value_or(weight.dtype());
  // The product itself widens bf16 to f32; every other pair is cast first.
  if (!(weight.dtype() == DType::kBF16 && dtype == DType::kF32)) {
    weight = in_dtype(context.stream, weight, dtype);
    rows = in_dtype(context.stream, rows, dtype);
    bias = in_dtype(context.stream, bias, dtype);
  }
  const Tensor logits = context.empty({rows.size(0), experts_}, dtype, "router.logits");
  kernels::gemm(context.stream,
                {.a = rows, .b = weight, .c = logits, .transpose_b = kernels::Transpose::kYes, .bias = bias});
  if (bias_ != nullptr) context.store.release(*bias_);
  return logits;
}

void Gate::backward(const Context& context, const Tensor& dlogits, const SavedTensor& x, const Tensor& dx) const {
  {
    const Weight held(context.store, *weight_);
    const Tensor weight = in_dtype(context.stream, held.tensor(), dlogits.dtype());
    const Tensor rows = dx.as_matrix();
    if (rows.dtype() == dlogits.dtype()) {
      kernels::linear_input_gradient(context.stream, dlogits, weight, rows, kernels::Accumulate::kAdd);
    } else {
      const Tensor product = scratch(context.stream, rows.shape(), dlogits.dtype());
      kernels::linear_input_gradient(context.stream, dlogits, weight, product);
      add_into(context.stream, product, rows);
    }
  }
  context.weight_gradients.add(context.batch.index,
                               [this, stream = context.stream, store = &context.store, dlogits, x] {
                                 add_weight_gradient(stream, *store, dlogits, x.get().as_matrix());
                                 x.forget();
                               });
}

void Gate::add_weight_gradient(const Stream& stream, ParameterStore& store, const Tensor& dlogits,
                               const Tensor& x) const {
  add_product(stream, dlogits, in_dtype(stream, x, dlogits.dtype()), store.gradient(*weight_));
  store.gradient_complete(*weight_);
  if (bias_ == nullptr) return;
  const Tensor ones = scratch(stream, {dlogits.size(0), 1}, dlogits.dtype());
  kernels::fill(stream, {.x = ones, .value = 1});
  add_product(stream, dlogits, ones, store.gradient(*bias_).view({experts_, 1}));
  store.gradient_complete(*bias_);
}

}  // namespace conclave
