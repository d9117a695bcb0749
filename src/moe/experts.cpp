#include "moe/experts.h"

#include <utility>

#include "kernels/elementwise.h"
#include "kernels/grouped_bias.h"
#include "kernels/grouped_gemm.h"

namespace conclave {
namespace {

/// Which elements of a stack over all experts are held here: boxes over its axes. `parts` pieces of `length` stand one
/// after the other on axis 1 (gate and up); each is cut into the shares of ETP.
std::vector<Box> cut_rows(const ExpertsConfig& config, int64_t parts, int64_t length, std::vector<int64_t> last) {
  const Slice& tensor = config.expert_tensor;
  const int64_t first = config.expert.begin(config.experts), held = config.expert.share(config.experts);
  const auto box = [&](int64_t expert, int64_t experts, int64_t row, int64_t rows) {
    Box out{{expert, row}, {experts, rows}};
    for (const int64_t size : last) {
      out.begin.push_back(0);
      out.size.push_back(size);
    }
    return out;
  };
  if (tensor.is_whole() || parts == 1) {
    const int64_t rows = tensor.share(length);
    return {box(first, held, tensor.begin(length), parts * rows)};
  }
  std::vector<Box> boxes;
  for (int64_t e = first; e < first + held; ++e)
    for (int64_t part = 0; part < parts; ++part)
      boxes.push_back(box(e, 1, part * length + tensor.begin(length), tensor.share(length)));
  return boxes;
}

ParameterSpec matrices(const std::string& name, std::vector<int64_t> shape, Initializer init) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard.global_shape = std::move(shape);
  spec.grid = ParameterGrid::kExpert;
  spec.init = init;
  spec.role = ParameterRole::kExpertMatrices;
  return spec;
}

ParameterSpec biases(const std::string& name, std::vector<int64_t> shape) {
  ParameterSpec spec;
  spec.name = name;
  spec.shard.global_shape = std::move(shape);
  spec.grid = ParameterGrid::kExpert;
  spec.role = ParameterRole::kBias;
  spec.weight_decay = false;
  spec.matrix_axes = 1;
  return spec;
}

}  // namespace

Experts::Experts(ParameterStore& store, const ExpertsConfig& config) : config_(config) {
  const int64_t experts = config.experts, hidden = config.hidden;
  CONCLAVE_CHECK(experts % config.expert.size == 0, "[moe/experts] {} experts over {} ranks", experts,
                 config.expert.size);
  CONCLAVE_CHECK(config.width % config.expert_tensor.size == 0, "[moe/experts] width {} over {} ranks", config.width,
                 config.expert_tensor.size);
  const int64_t parts = kernels::is_gated(config.activation) ? 2 : 1, first = config.expert.begin(experts);
  ParameterSpec fc1 =
      matrices(config.name + ".linear_fc1.weight", {experts, parts * config.width, hidden}, config.init);
  fc1.shard.boxes = cut_rows(config, parts, config.width, {hidden});
  fc1.local_shape = {held(), fc1_width(), hidden};
  fc1_weight_ = store.declare(fc1);
  ParameterSpec fc2 = matrices(config.name + ".linear_fc2.weight", {experts, hidden, config.width}, config.output_init);
  fc2.shard.boxes = {{{first, 0, config.expert_tensor.begin(config.width)}, {held(), hidden, width()}}};
  fc2.local_shape = {held(), hidden, width()};
  fc2_weight_ = store.declare(fc2);
  if (!config.bias) return;
  ParameterSpec fc1_bias = biases(config.name + ".linear_fc1.bias", {experts, parts * config.width});
  fc1_bias.shard.boxes = cut_rows(config, parts, config.width, {});
  fc1_bias.local_shape = {held(), fc1_width()};
  fc1_bias_ = store.declare(fc1_bias);
  ParameterSpec fc2_bias = biases(config.name + ".linear_fc2.bias", {experts, hidden});
  fc2_bias.shard.boxes = {{{first, 0}, {held(), hidden}}};
  fc2_bias.local_shape = {held(), hidden};
  if (config.expert_tensor.rank != 0) fc2_bias.replica = {1};
  fc2_bias_ = store.declare(fc2_bias);
}

Tensor Experts::activate(const Context& context, const Tensor& fc1, const ExpertRows& in) const {
  const Tensor y = context.empty({fc1.size(0), width()}, "experts.activation");
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
  if (adds_fc2_bias()) {
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
  const Tensor dhidden = context.empty({rows, width()}, "experts.dactivation");
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
  if (fc2_bias_ != nullptr) fc2_bias_backward(context, dy, in, gradient.row_weight);
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

void Experts::fc2_bias_backward(const Context& context, const Tensor& dy, const ExpertRows& in,
                                const Tensor& drow_weight) const {
  const Weight bias(context.store, *fc2_bias_);
  // Every rank that shares the experts has all rows, so all make the bias's whole gradient; its part in the
  // probabilities' gradient counts once.
  const Tensor elsewhere = adds_fc2_bias() ? Tensor() : context.empty(drow_weight.shape(), DType::kF32, "experts.bias");
  if (elsewhere) kernels::fill(context.stream, {.x = elsewhere, .value = 0});
  kernels::grouped_bias_backward(context.stream, {.dy = dy,
                                                  .bias = bias.tensor(),
                                                  .row_weight = in.row_weight,
                                                  .offsets = in.offsets,
                                                  .dbias = context.store.gradient(*fc2_bias_),
                                                  .drow_weight = elsewhere ? elsewhere : drow_weight});
  context.store.gradient_complete(*fc2_bias_);
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
