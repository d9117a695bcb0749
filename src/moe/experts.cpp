#include "moe/experts.h"

#include "kernels/grouped_bias.h"
#include "kernels/grouped_gemm.h"

namespace conclave {
namespace {

Parameter* declare_matrices(ParameterStore& store, const std::string& name, std::vector<int64_t> shape,
                            Initializer init) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole(shape);
  spec.init = init;
  spec.role = ParameterRole::kExpertMatrices;
  return store.declare(spec);
}

Parameter* declare_biases(ParameterStore& store, const std::string& name, std::vector<int64_t> shape) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard = ShardSpec::whole(shape);
  spec.role = ParameterRole::kBias;
  spec.weight_decay = false;
  spec.matrix_axes = 1;
  return store.declare(spec);
}

}  // namespace

Experts::Experts(ParameterStore& store, const ExpertsConfig& config) : config_(config) {
  const int64_t experts = config.experts, hidden = config.hidden, width = config.width;
  fc1_weight_ =
      declare_matrices(store, config.name + ".linear_fc1.weight", {experts, fc1_width(), hidden}, config.init);
  fc2_weight_ =
      declare_matrices(store, config.name + ".linear_fc2.weight", {experts, hidden, width}, config.output_init);
  if (!config.bias) return;
  fc1_bias_ = declare_biases(store, config.name + ".linear_fc1.bias", {experts, fc1_width()});
  fc2_bias_ = declare_biases(store, config.name + ".linear_fc2.bias", {experts, hidden});
}

Tensor Experts::activate(const Context& context, const Tensor& fc1, const ExpertRows& in) const {
  const Tensor y = context.empty({fc1.size(0), config_.width}, "experts.activation");
  kernels::activation_forward(context.stream, {.kind = config_.activation,
                                               .x = fc1,
                                               .y = y,
                                               .row_weight = in.row_weight,
                                               .row_count = row_count(in),
                                               .clamp = config_.clamp,
                                               .linear_offset = config_.linear_offset});
  return y;
}

Tensor Experts::forward(const Context& context, const ExpertRows& in, ExpertsSaved* saved) const {
  const Tensor rows = in.rows.get();
  const Tensor fc1 = context.empty({rows.size(0), fc1_width()}, "experts.fc1");
  {
    const Weight weight(context.store, *fc1_weight_);
    kernels::GroupedForwardArgs args{.x = rows, .weight = weight.tensor(), .y = fc1, .offsets = in.offsets};
    if (fc1_bias_ != nullptr) args.bias = context.store.acquire(*fc1_bias_);
    kernels::grouped_gemm_forward(context.stream, args);
    if (fc1_bias_ != nullptr) context.store.release(*fc1_bias_);
  }
  in.rows.forget();
  context.observe(config_.name + ".linear_fc1", fc1);
  const Tensor hidden = activate(context, fc1, in);
  if (context.with_gradient) {
    *saved = {in, fc1,
              context.save("moe_act", hidden, [this, again = context, fc1, in] { return activate(again, fc1, in); })};
  }
  const Tensor y = context.empty(rows.shape(), "experts.out");
  const Weight weight(context.store, *fc2_weight_);
  kernels::grouped_gemm_forward(context.stream,
                                {.x = hidden, .weight = weight.tensor(), .y = y, .offsets = in.offsets});
  if (fc2_bias_ != nullptr) {
    const Weight bias(context.store, *fc2_bias_);
    kernels::grouped_bias_forward(context.stream,
                                  {.y = y, .bias = bias.tensor(), .row_weight = in.row_weight, .offsets = in.offsets});
  }
  context.observe(config_.name + ".linear_fc2", y);
  return y;
}

ExpertsGradient Experts::backward(const Context& context, const Tensor& dy, const ExpertsSaved& saved) const {
  const ExpertRows& in = saved.in;
  const int64_t rows = dy.size(0);
  ExpertsGradient gradient;
  gradient.row_weight = context.empty({rows}, DType::kF32, "experts.drow_weight");
  const Tensor dhidden = context.empty({rows, config_.width}, "experts.dactivation");
  {
    const Weight weight(context.store, *fc2_weight_);
    kernels::grouped_gemm_input_gradient(context.stream,
                                         {.dy = dy, .weight = weight.tensor(), .dx = dhidden, .offsets = in.offsets});
  }
  enqueue_fc2_gradient(context, dy, saved);
  const Tensor dfc1 = context.empty(saved.fc1.shape(), "experts.dfc1");
  kernels::activation_backward(context.stream, {.kind = config_.activation,
                                                .dy = dhidden,
                                                .x = saved.fc1,
                                                .dx = dfc1,
                                                .row_weight = in.row_weight,
                                                .drow_weight = gradient.row_weight,
                                                .row_count = row_count(in),
                                                .clamp = config_.clamp,
                                                .linear_offset = config_.linear_offset});
  if (fc2_bias_ != nullptr) {
    const Weight bias(context.store, *fc2_bias_);
    kernels::grouped_bias_backward(context.stream, {.dy = dy,
                                                    .bias = bias.tensor(),
                                                    .row_weight = in.row_weight,
                                                    .offsets = in.offsets,
                                                    .dbias = context.store.gradient(*fc2_bias_),
                                                    .drow_weight = gradient.row_weight});
    context.store.gradient_complete(*fc2_bias_);
  }
  gradient.rows = context.empty({rows, config_.hidden}, "experts.drows");
  {
    const Weight weight(context.store, *fc1_weight_);
    kernels::grouped_gemm_input_gradient(
        context.stream, {.dy = dfc1, .weight = weight.tensor(), .dx = gradient.rows, .offsets = in.offsets});
  }
  context.observe(config_.name + ".grad", gradient.rows);
  enqueue_fc1_gradient(context, dfc1, saved);
  return gradient;
}

void Experts::enqueue_fc2_gradient(const Context& context, const Tensor& dy, const ExpertsSaved& saved) const {
  context.weight_gradients.add(context.batch.index, [this, stream = context.stream, store = &context.store, dy,
                                                     hidden = saved.hidden, offsets = saved.in.offsets] {
    kernels::grouped_gemm_weight_gradient(
        stream, {.dy = dy, .x = hidden.get(), .dweight = store->gradient(*fc2_weight_), .offsets = offsets});
    hidden.forget();
    store->gradient_complete(*fc2_weight_);
  });
}

void Experts::enqueue_fc1_gradient(const Context& context, const Tensor& dfc1, const ExpertsSaved& saved) const {
  context.weight_gradients.add(
      context.batch.index, [this, stream = context.stream, store = &context.store, dfc1, in = saved.in] {
        kernels::GroupedWeightGradientArgs args{
            .dy = dfc1, .x = in.rows.get(), .dweight = store->gradient(*fc1_weight_), .offsets = in.offsets};
        if (fc1_bias_ != nullptr) args.dbias = store->gradient(*fc1_bias_);
        kernels::grouped_gemm_weight_gradient(stream, args);
        in.rows.forget();
        store->gradient_complete(*fc1_weight_);
        if (fc1_bias_ != nullptr) store->gradient_complete(*fc1_bias_);
      });
}

}  // namespace conclave
