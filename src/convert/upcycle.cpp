#include "convert/upcycle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "convert/elements.h"
#include "kernels/elementwise.h"
#include "models/layer_config.h"
#include "spec/architecture.h"

namespace conclave {
namespace {

class CheckpointSource final : public TensorSource {
 public:
  explicit CheckpointSource(const CheckpointReader& checkpoint) : checkpoint_(checkpoint) {}
  std::vector<OwnTensor> tensors() const override {
    std::vector<OwnTensor> out;
    for (const StoredTensor& tensor : checkpoint_.tensors()) {
      if (!tensor.name.starts_with("optimizer.")) out.push_back({tensor.name, tensor.shape});
    }
    return out;
  }
  DType dtype(const std::string& name) const override { return checkpoint_.at(name).dtype; }
  void read(const std::string& name, int64_t begin, DType dtype, std::span<std::byte> out) const override {
    const StoredTensor& stored = checkpoint_.at(name);
    const int64_t count = static_cast<int64_t>(out.size()) / dtype_size(dtype);
    std::vector<std::byte> raw(static_cast<size_t>(count * dtype_size(stored.dtype)));
    const Box whole = ShardSpec::whole(stored.shape).boxes.front();
    checkpoint_.read(name, {stored.shape, boxes_of_flat_range(whole, begin, count)}, raw);
    convert_elements(stored.dtype, raw, dtype, out);
  }

 private:
  const CheckpointReader& checkpoint_;
};

class DirectorySource final : public TensorSource {
 public:
  explicit DirectorySource(const HuggingFaceWeights& weights) : weights_(weights) {}
  std::vector<OwnTensor> tensors() const override { return weights_.tensors(); }
  DType dtype(const std::string& name) const override { return weights_.stored_dtype(name); }
  void read(const std::string& name, int64_t begin, DType dtype, std::span<std::byte> out) const override {
    weights_.read(name, begin, dtype, out);
  }

 private:
  const HuggingFaceWeights& weights_;
};

// Which router all MoE layers have.
const LayerSpec* first_moe_layer(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.ffn == FfnKind::kMoe) return &layer;
  }
  return nullptr;
}

// Weight of each chosen expert where all logits are zero and nothing is normalised.
double weight_at_zero(const RouterSpec& router) {
  if (router.score_function == "sigmoid") return 0.5;
  if (router.score_function == "sqrtsoftplus") return std::sqrt(std::log(2.0));
  return 1.0 / static_cast<double>(router.experts);
}

bool normalises(const RouterSpec& router) {
  if (router.score_function == "softmax") return !router.pre_softmax;
  return router.norm_topk_prob == "always" || (router.norm_topk_prob == "auto" && router.topk > 1);
}

std::vector<std::string> misfits(const UpcyclingRequest& request, const LayerSpec* moe_layer) {
  std::vector<std::string> faults;
  if (moe_layer == nullptr) return {"no layer of the new model has experts; give --num-experts"};
  // The dense model with nothing but the MLPs changed must be the new one.
  ModelSpec before = request.dense, after = request.moe;
  if (before.layers.size() == after.layers.size()) {
    for (size_t i = 0; i < after.layers.size(); ++i) {
      const LayerSpec& dense = before.layers[i];
      if (dense.ffn == FfnKind::kMoe) return {"the model of --load has experts already"};
      LayerSpec& layer = after.layers[i];
      if (layer.ffn != FfnKind::kMoe) continue;
      const MlpSpec& expert = layer.moe.expert;
      if (expert.width * request.granularity != dense.mlp.width)
        faults.push_back(fmt::format("layer {}: experts of width {} times {} slices are not the dense width {}", i,
                                     expert.width, request.granularity, dense.mlp.width));
      if (expert.activation != dense.mlp.activation || expert.bias != dense.mlp.bias || expert.clamp != 0)
        faults.push_back(fmt::format("layer {}: experts must have the dense MLP's activation ({}) and biases", i,
                                     dense.mlp.activation));
      layer.ffn = FfnKind::kDense;
      layer.mlp = dense.mlp;
    }
  }
  for (const std::string& text : architecture_difference(before, after)) faults.push_back(text);
  const RouterSpec& router = moe_layer->moe.router;
  if (router.experts % request.granularity != 0)
    faults.push_back(fmt::format("--moe-upcycling-granularity {} must divide --num-experts {}", request.granularity,
                                 router.experts));
  if (router.group_topk > 0) faults.push_back("group-limited routing does not choose whole copies; leave groups out");
  if (router.sinkhorn) faults.push_back("sinkhorn routing does not choose whole copies; use another balancing");
  return faults;
}

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

/// Parts of a dense MLP, scaled, in f32.
struct Slices {
  const TensorSource* source;
  UpcyclingPlan plan;
  int64_t granularity;

  std::vector<float> whole(const std::string& name, int64_t begin, int64_t count) const {
    std::vector<float> values(static_cast<size_t>(count));
    source->read(name, begin, DType::kF32, std::as_writable_bytes(std::span(values)));
    return values;
  }

  // Elements [slice * part, + part) of each half (or of the one) of a dense FC1, scaled.
  std::vector<float> fc1_slice(const std::string& name, int64_t halves, int64_t half, int64_t slice) const {
    const int64_t part = half / granularity;
    std::vector<float> out;
    for (int64_t h = 0; h < halves; ++h) {
      const std::vector<float> values = whole(name, h * half + slice * part, part);
      out.insert(out.end(), values.begin(), values.end());
    }
    for (float& value : out) value = static_cast<float>(value * plan.fc1);
    return out;
  }

  // Columns of FC2 [H,Fd] that belong to a slice, scaled: [H,F].
  std::vector<float> fc2_slice(const std::string& name, int64_t rows, int64_t columns, int64_t slice) const {
    const int64_t part = columns / granularity;
    std::vector<float> out;
    out.reserve(static_cast<size_t>(rows * part));
    const int64_t at_once = std::max<int64_t>((int64_t{4} << 20) / columns, 1);
    for (int64_t row = 0; row < rows; row += at_once) {
      const int64_t count = std::min(at_once, rows - row);
      const std::vector<float> values = whole(name, row * columns, count * columns);
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t c = 0; c < part; ++c)
          out.push_back(static_cast<float>(values[static_cast<size_t>(r * columns + slice * part + c)] * plan.fc2));
      }
    }
    return out;
  }
};

/// Makes the tensors of the new model.
class Upcycler {
 public:
  Upcycler(const TensorSource& source, const UpcyclingRequest& request, const UpcyclingPlan& plan)
      : source_(source), request_(request), plan_(plan) {}

  std::vector<CheckpointTensor> make() {
    for (const OwnTensor& tensor : source_.tensors()) {
      const std::optional<size_t> layer = moe_layer_of(tensor.name);
      layer ? expert_tensor(tensor, *layer) : copy(tensor);
    }
    for (size_t i = 0; i < request_.moe.layers.size(); ++i) {
      if (request_.moe.layers[i].ffn == FfnKind::kMoe) new_tensors(i);
    }
    return std::move(out_);
  }

 private:
  const TensorSource& source_;
  const UpcyclingRequest& request_;
  const UpcyclingPlan& plan_;
  std::vector<CheckpointTensor> out_;

  Slices slices() const { return {&source_, plan_, request_.granularity}; }
  static std::string prefix(size_t layer) { return fmt::format("decoder.layers.{}.mlp.", layer); }

  // The layer whose dense MLP the tensor belongs to, if that becomes experts.
  std::optional<size_t> moe_layer_of(const std::string& name) const {
    for (size_t i = 0; i < request_.moe.layers.size(); ++i) {
      if (request_.moe.layers[i].ffn == FfnKind::kMoe && name.starts_with(prefix(i))) return i;
    }
    return std::nullopt;
  }

  void copy(const OwnTensor& tensor) {
    const DType dtype = source_.dtype(tensor.name);
    out_.push_back(CheckpointTensor::from_source(
        tensor.name, dtype, ShardSpec::whole(tensor.shape),
        [this_source = &source_, name = tensor.name, dtype](int64_t offset, std::span<std::byte> out) {
          this_source->read(name, offset / dtype_size(dtype), dtype, out);
        }));
  }

  // A tensor made expert by expert: `make(slice)` gives the values of one expert.
  void stack(const std::string& name, std::vector<int64_t> shape, DType dtype,
             std::function<std::vector<float>(int64_t slice)> make) {
    struct State {
      int64_t expert = -1;
      std::vector<std::byte> bytes;
    };
    const int64_t each = count_of(shape) / shape[0] * dtype_size(dtype), granularity = request_.granularity;
    out_.push_back(CheckpointTensor::from_source(
        name, dtype, ShardSpec::whole(shape),
        [state = std::make_shared<State>(), make = std::move(make), each, granularity, dtype](
            int64_t offset, std::span<std::byte> out) {
          for (size_t done = 0; done < out.size();) {
            const int64_t at = offset + static_cast<int64_t>(done), expert = at / each, within = at % each;
            if (expert != state->expert) {
              const std::vector<float> values = make(expert % granularity);
              state->bytes.resize(static_cast<size_t>(each));
              convert_elements(DType::kF32, std::as_bytes(std::span(values)), dtype, state->bytes);
              state->expert = expert;
            }
            const size_t count = std::min(out.size() - done, static_cast<size_t>(each - within));
            std::memcpy(out.data() + done, state->bytes.data() + within, count);
            done += count;
          }
        }));
  }

  void expert_tensor(const OwnTensor& tensor, size_t layer) {
    const MoeSpec& moe = request_.moe.layers[layer].moe;
    const std::string rest = tensor.name.substr(prefix(layer).size());
    const std::string name = prefix(layer) + "experts." + rest;
    const int64_t experts = moe.router.experts, halves = moe.expert.gated ? 2 : 1;
    const int64_t hidden = request_.moe.hidden, width = moe.expert.width;
    // A factor that is no power of two does not fit into fewer bits.
    const bool scaled = rest.starts_with("linear_fc1") ? plan_.fc1 != 1 : plan_.fc2 != 1 || plan_.fc2_bias != 1;
    const DType dtype = scaled ? DType::kF32 : source_.dtype(tensor.name);
    const int64_t half = count_of(tensor.shape) / halves;
    if (rest == "linear_fc1.weight" || rest == "linear_fc1.bias") {
      std::vector<int64_t> shape = {experts, halves * width};
      if (rest == "linear_fc1.weight") shape.push_back(hidden);
      stack(name, shape, dtype, [slices = slices(), from = tensor.name, halves, half](int64_t slice) {
        return slices.fc1_slice(from, halves, half, slice);
      });
    } else if (rest == "linear_fc2.weight") {
      stack(name, {experts, hidden, width}, dtype,
            [slices = slices(), from = tensor.name, hidden, columns = tensor.shape[1]](int64_t slice) {
              return slices.fc2_slice(from, hidden, columns, slice);
            });
    } else {
      CONCLAVE_CHECK(rest == "linear_fc2.bias", "'{}' is no part of a dense MLP", tensor.name);
      stack(name, {experts, hidden}, dtype, [slices = slices(), from = tensor.name, hidden](int64_t) {
        std::vector<float> values = slices.whole(from, 0, hidden);
        for (float& value : values) value = static_cast<float>(value * slices.plan.fc2_bias);
        return values;
      });
    }
  }

  void held(const std::string& name, const std::vector<int64_t>& shape, std::vector<float> values) {
    auto kept = std::make_shared<std::vector<float>>(std::move(values));
    out_.push_back(CheckpointTensor::from_source(
        name, DType::kF32, ShardSpec::whole(shape), [kept](int64_t offset, std::span<std::byte> out) {
          std::memcpy(out.data(), std::as_bytes(std::span(*kept)).data() + offset, out.size());
        }));
  }

  // As a model with these options and this seed would start.
  std::vector<float> initial(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto device = make_device("cpu");
    const Initializer init = matrix_initializer(request_.moe, shape.back(), shape.front(), request_.moe.init_std);
    const bool uniform = init.kind == Initializer::Kind::kUniform;
    const Tensor x = Tensor::empty(*device, Shape(shape), DType::kF32, {MemoryCategory::kWorkspace, "upcycling"});
    kernels::random_fill(device->default_stream(),
                         {.x = x,
                          .shard = ShardSpec::whole(shape),
                          .kind = uniform ? kernels::RandomKind::kUniform : kernels::RandomKind::kNormal,
                          .a = uniform ? -init.std : 0.0,
                          .b = init.std,
                          .source = RandomStream(request_.seed, name)});
    return to_host<float>(device->default_stream(), x);
  }

  void new_tensors(size_t layer) {
    const MoeSpec& moe = request_.moe.layers[layer].moe;
    const int64_t experts = moe.router.experts, hidden = request_.moe.hidden;
    const std::string router = prefix(layer) + "router.";
    // The first E/G rows of a random router, each for the G slices of one copy.
    std::vector<float> rows(static_cast<size_t>(experts * hidden), 0.0f);
    if (!plan_.zero_router) {
      const std::vector<float> random = initial(router + "weight", {experts, hidden});
      for (int64_t e = 0; e < experts; ++e)
        std::copy_n(random.begin() + e / request_.granularity * hidden, hidden, rows.begin() + e * hidden);
    }
    held(router + "weight", {experts, hidden}, std::move(rows));
    if (moe.router.linear_bias) held(router + "bias", {experts}, std::vector<float>(static_cast<size_t>(experts)));
    if (moe.router.expert_bias)
      held(router + "expert_bias", {experts}, std::vector<float>(static_cast<size_t>(experts)));
    if (moe.shared_width == 0) return;
    // A shared expert is new: it starts without a say.
    const std::string shared = prefix(layer) + "shared_experts.";
    const int64_t width = moe.shared_width, first = width * (moe.expert.gated ? 2 : 1);
    held(shared + "linear_fc1.weight", {first, hidden}, initial(shared + "linear_fc1.weight", {first, hidden}));
    held(shared + "linear_fc2.weight", {hidden, width}, std::vector<float>(static_cast<size_t>(hidden * width)));
    if (moe.shared_gate) held(shared + "gate_weight", {1, hidden}, initial(shared + "gate_weight", {1, hidden}));
  }
};

}  // namespace

std::unique_ptr<TensorSource> tensor_source(const CheckpointReader& checkpoint) {
  return std::make_unique<CheckpointSource>(checkpoint);
}
std::unique_ptr<TensorSource> tensor_source(const HuggingFaceWeights& weights) {
  return std::make_unique<DirectorySource>(weights);
}

UpcyclingPlan plan_upcycling(const UpcyclingRequest& request) {
  const LayerSpec* layer = first_moe_layer(request.moe);
  const std::vector<std::string> faults = misfits(request, layer);
  CONCLAVE_USER_CHECK(faults.empty(), "the dense model does not become the one that was asked for:\n  {}",
                      join(faults, "\n  "));
  const RouterSpec& router = layer->moe.router;
  const auto slices = static_cast<double>(request.granularity), topk = static_cast<double>(router.topk);
  const double factor = router.scaling_factor != 0 ? router.scaling_factor : 1;
  UpcyclingPlan plan;
  plan.zero_router = !normalises(router) && !request.split_scaling;
  // What the weights of a token's experts sum to.
  const double sum = (normalises(router) ? 1 : topk * weight_at_zero(router)) * factor;
  const double whole = slices / sum;
  plan.fc2 = whole;
  plan.fc2_bias = 1 / sum;
  if (request.split_scaling) {
    const bool gated = layer->moe.expert.gated || layer->moe.expert.activation == "squared_relu";
    const auto experts = static_cast<double>(router.experts);
    const double all = router.pre_softmax ? experts * slices / topk : slices;
    plan.fc1 = plan.fc2 = std::pow(all, gated ? 1.0 / 3 : 0.5);
    plan.fc2_bias = 1;
    plan.exact = all == 1 && normalises(router) && factor == 1;
    plan.note = "the factor is spread over both products, which changes what the activation sees";
  }
  if (router.topk % request.granularity != 0) {
    plan.exact = false;
    plan.note = fmt::format("--moe-router-topk {} is no multiple of {} slices: a token meets parts of copies",
                            router.topk, request.granularity);
  }
  return plan;
}

std::vector<CheckpointTensor> upcycled_tensors(const TensorSource& source, const UpcyclingRequest& request,
                                               const UpcyclingPlan& plan) {
  return Upcycler(source, request, plan).make();
}

}  // namespace conclave
