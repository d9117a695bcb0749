#include <algorithm>
#include <map>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/optimizer.h"
#include "optim/training_store.h"

namespace conclave {
namespace {

// Every parameter starts at a multiple of this many elements, so that vector loads are aligned.
constexpr int64_t kAlignedElements = 64;

struct Placed {
  std::unique_ptr<Parameter> parameter;
  int64_t begin = 0;  // elements from the start of the flat buffers
  int64_t count = 0;
  std::vector<Tensor> extra_uses;
};

// Neighbours with equal rates, updated in one call.
struct Run {
  int64_t begin = 0, end = 0;
  bool decays = true;
  bool decoupled = false;
};

class PlainStore final : public TrainingStore {
 public:
  PlainStore(Device& device, DType compute_dtype, const OptimizerConfig* optimizer)
      : device_(device),
        compute_dtype_(compute_dtype),
        trains_(optimizer != nullptr),
        optimizer_(optimizer != nullptr ? *optimizer : OptimizerConfig{}) {}

  Parameter* declare(ParameterSpec spec) override;
  void declare_buffer(BufferSpec spec) override;
  void allocate(uint64_t seed) override;

  Tensor acquire(const Parameter& parameter) override { return view(compute_, parameter); }
  void release(const Parameter&) override {}
  Tensor gradient(const Parameter& parameter, int use) override {
    CONCLAVE_CHECK(trains_, "gradient of '{}' asked for in a store that does not train", parameter.spec.name);
    gradients_are_zero_ = false;
    if (use == 0) return view(gradients_, parameter);
    return placed_[static_cast<size_t>(parameter.index)].extra_uses.at(static_cast<size_t>(use - 1));
  }
  void gradient_complete(const Parameter&) override {}  // nothing is reduced on one process
  Tensor buffer(const std::string& name) override {
    const auto found = buffers_.find(name);
    CONCLAVE_CHECK(found != buffers_.end(), "no buffer '{}'", name);
    return found->second;
  }
  const std::vector<Parameter*>& parameters() const override { return parameters_; }
  const std::vector<BufferSpec>& buffers() const override { return buffer_specs_; }
  DType compute_dtype() const override { return compute_dtype_; }

  void zero_gradients(const Stream& stream) override;
  void finalize_gradients(const Stream& stream, double scale) override;
  ClipResult clip(const Stream& stream, double max_norm) override;
  void update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) override;
  std::vector<StateTensor> state() const override;
  void weights_changed(const Stream& stream) override;
  Tensor count_zero_gradients(const Stream& stream) override;
  Tensor weight_square_sum(const Stream& stream) override;
  Tensor main_weight(const Parameter& parameter) const override { return view(main_, parameter); }

 private:
  Device& device_;
  DType compute_dtype_;
  bool trains_;
  OptimizerConfig optimizer_;
  std::vector<Placed> placed_;
  std::vector<Parameter*> parameters_;
  std::vector<BufferSpec> buffer_specs_;
  std::map<std::string, Tensor> buffers_;
  std::vector<Run> runs_;
  int64_t elements_ = 0;
  bool gradients_are_zero_ = false;  // until somebody asks for one
  Tensor main_, compute_, gradients_, first_, second_;

  Tensor view(const Tensor& flat, const Parameter& parameter) const {
    const Placed& place = placed_[static_cast<size_t>(parameter.index)];
    return flat.flat_slice(place.begin, place.count).view(Shape(local_shape(parameter.spec)));
  }
  Tensor flat(DType dtype, MemoryCategory category, const char* name) const {
    return Tensor::empty(device_, {elements_}, dtype, {category, name});
  }
  void initialize(const Stream& stream, const Placed& place, uint64_t seed) const;
  void add_to_runs(const Placed& place);
  void update_run(const Stream& stream, const Run& run, const UpdateRates& rates, const Tensor& gradient_scale);
};

Parameter* PlainStore::declare(ParameterSpec spec) {
  CONCLAVE_CHECK(!main_.defined(), "'{}' declared after allocation", spec.name);
  for (const Placed& other : placed_)
    CONCLAVE_CHECK(other.parameter->spec.name != spec.name, "two parameters are called '{}'", spec.name);
  Placed place;
  place.begin = elements_;
  place.count = spec.shard.element_count();
  place.parameter = std::make_unique<Parameter>(Parameter{std::move(spec), static_cast<int>(placed_.size())});
  elements_ += round_up(place.count, kAlignedElements);
  add_to_runs(place);
  parameters_.push_back(place.parameter.get());
  placed_.push_back(std::move(place));
  return parameters_.back();
}

void PlainStore::declare_buffer(BufferSpec spec) { buffer_specs_.push_back(std::move(spec)); }

void PlainStore::add_to_runs(const Placed& place) {
  const ParameterSpec& spec = place.parameter->spec;
  const bool decoupled = spec.role == ParameterRole::kEmbedding || spec.role == ParameterRole::kOutput;
  if (runs_.empty() || runs_.back().decays != spec.weight_decay || runs_.back().decoupled != decoupled) {
    runs_.push_back({place.begin, place.begin, spec.weight_decay, decoupled});
  }
  runs_.back().end = elements_;
}

void PlainStore::allocate(uint64_t seed) {
  const Stream stream = device_.default_stream();
  const bool copies = compute_dtype_ != DType::kF32;
  main_ = flat(DType::kF32, copies ? MemoryCategory::kOptimizer : MemoryCategory::kWeights, "main weights");
  compute_ = copies ? flat(compute_dtype_, MemoryCategory::kWeights, "compute weights") : main_;
  kernels::fill(stream, {.x = main_, .value = 0});
  for (const Placed& place : placed_) initialize(stream, place, seed);
  for (const BufferSpec& spec : buffer_specs_) {
    const Tensor tensor = Tensor::empty(device_, Shape(spec.shape), spec.dtype, {MemoryCategory::kWeights, "buffers"});
    kernels::fill(stream, {.x = tensor, .value = 0});
    CONCLAVE_CHECK(buffers_.emplace(spec.name, tensor).second, "two buffers are called '{}'", spec.name);
  }
  weights_changed(stream);
  if (!trains_) return;
  gradients_ = flat(DType::kF32, MemoryCategory::kGradients, "gradients");
  for (Placed& place : placed_) {
    for (int use = 1; use < place.parameter->spec.gradient_uses; ++use) {
      place.extra_uses.push_back(Tensor::empty(device_, Shape(local_shape(place.parameter->spec)), DType::kF32,
                                               {MemoryCategory::kGradients, "gradients of further uses"}));
    }
  }
  zero_gradients(stream);
  const bool adam = optimizer_.kind == OptimizerKind::kAdam;
  if (adam || optimizer_.momentum != 0) {
    first_ = flat(DType::kF32, MemoryCategory::kOptimizer, adam ? "exp_avg" : "momentum");
    kernels::fill(stream, {.x = first_, .value = 0});
  }
  if (adam) {
    second_ = flat(DType::kF32, MemoryCategory::kOptimizer, "exp_avg_sq");
    kernels::fill(stream, {.x = second_, .value = 0});
  }
}

void PlainStore::initialize(const Stream& stream, const Placed& place, uint64_t seed) const {
  const ParameterSpec& spec = place.parameter->spec;
  const Tensor x = main_.flat_slice(place.begin, place.count);
  if (spec.init.kind == Initializer::Kind::kZeros) return;
  if (spec.init.kind == Initializer::Kind::kOnes) {
    kernels::fill(stream, {.x = x, .value = 1});
    return;
  }
  const bool uniform = spec.init.kind == Initializer::Kind::kUniform;
  kernels::random_fill(stream, {.x = x,
                                .shard = spec.shard,
                                .kind = uniform ? kernels::RandomKind::kUniform : kernels::RandomKind::kNormal,
                                .a = uniform ? -spec.init.std : 0.0,
                                .b = spec.init.std,
                                .source = RandomStream(seed, spec.name)});
}

void PlainStore::weights_changed(const Stream& stream) {
  if (compute_dtype_ != DType::kF32) kernels::cast(stream, {.x = main_, .y = compute_});
}

void PlainStore::zero_gradients(const Stream& stream) {
  if (gradients_are_zero_) return;
  kernels::fill(stream, {.x = gradients_, .value = 0});
  for (const Placed& place : placed_) {
    for (const Tensor& extra : place.extra_uses) kernels::fill(stream, {.x = extra, .value = 0});
  }
  gradients_are_zero_ = true;
}

void PlainStore::finalize_gradients(const Stream& stream, double scale) {
  for (const Placed& place : placed_) {
    for (const Tensor& extra : place.extra_uses) {
      kernels::scale(stream, {.x = extra, .y = gradient(*place.parameter, 0), .accumulate = kernels::Accumulate::kAdd});
    }
  }
  if (scale != 1) kernels::scale(stream, {.x = gradients_, .y = gradients_, .scale = scale});
}

ClipResult PlainStore::clip(const Stream& stream, double max_norm) {
  const MemoryTag tag{MemoryCategory::kWorkspace, "clip"};
  const Tensor sum = Tensor::empty(device_, {1}, DType::kF64, tag);
  ClipResult result{Tensor::empty(device_, {1}, DType::kF32, tag), Tensor::empty(device_, {1}, DType::kF32, tag)};
  kernels::square_sum(stream, {.x = gradients_, .out = sum});
  kernels::clip_scale(stream, {.square_sum = sum, .norm = result.norm, .scale = result.scale, .max_norm = max_norm});
  return result;
}

void PlainStore::update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) {
  for (const Run& run : runs_) update_run(stream, run, rates, gradient_scale);
  // update_run cleared what it read; the runs cover the whole buffer.
  gradients_are_zero_ =
      std::all_of(placed_.begin(), placed_.end(), [](const Placed& p) { return p.extra_uses.empty(); });
}

void PlainStore::update_run(const Stream& stream, const Run& run, const UpdateRates& rates,
                            const Tensor& gradient_scale) {
  const auto part = [&](const Tensor& flat_buffer) {
    return flat_buffer.defined() ? flat_buffer.flat_slice(run.begin, run.end - run.begin) : Tensor();
  };
  const Tensor compute = compute_dtype_ == DType::kF32 ? Tensor() : part(compute_);
  const double lr = run.decoupled ? rates.decoupled_lr : rates.lr;
  const double weight_decay = run.decays ? rates.weight_decay : 0.0;
  if (optimizer_.kind == OptimizerKind::kAdam) {
    kernels::adamw(stream, {.weight = part(main_),
                            .gradient = part(gradients_),
                            .exp_avg = part(first_),
                            .exp_avg_sq = part(second_),
                            .compute = compute,
                            .lr = lr,
                            .beta1 = optimizer_.beta1,
                            .beta2 = optimizer_.beta2,
                            .epsilon = optimizer_.epsilon,
                            .weight_decay = weight_decay,
                            .step = rates.step,
                            .grad_scale = gradient_scale,
                            .gradient_after = kernels::GradientAfter::kZero});
  } else {
    kernels::sgd(stream, {.weight = part(main_),
                          .gradient = part(gradients_),
                          .momentum_buffer = part(first_),
                          .compute = compute,
                          .lr = lr,
                          .momentum = optimizer_.momentum,
                          .weight_decay = weight_decay,
                          .step = rates.step,
                          .grad_scale = gradient_scale,
                          .gradient_after = kernels::GradientAfter::kZero});
  }
}

std::vector<StateTensor> PlainStore::state() const {
  std::vector<StateTensor> out;
  for (const Placed& place : placed_) {
    const ParameterSpec& spec = place.parameter->spec;
    out.push_back({spec.name, spec.shard, view(main_, *place.parameter), false});
    if (first_.defined())
      out.push_back({(second_.defined() ? "optimizer.exp_avg." : "optimizer.momentum.") + spec.name, spec.shard,
                     view(first_, *place.parameter), true});
    if (second_.defined())
      out.push_back({"optimizer.exp_avg_sq." + spec.name, spec.shard, view(second_, *place.parameter), true});
  }
  for (const BufferSpec& spec : buffer_specs_)
    out.push_back({spec.name, ShardSpec::whole(spec.shape), buffers_.at(spec.name), false});
  return out;
}

Tensor PlainStore::count_zero_gradients(const Stream& stream) {
  const Tensor out = Tensor::empty(device_, {1}, DType::kI64, {MemoryCategory::kWorkspace, "zeros"});
  kernels::fill(stream, {.x = out, .value = 0});
  for (const Placed& place : placed_) {  // one by one: the gaps between parameters are zero too
    kernels::count_zeros(
        stream,
        {.x = gradients_.flat_slice(place.begin, place.count), .out = out, .accumulate = kernels::Accumulate::kAdd});
  }
  return out;
}

Tensor PlainStore::weight_square_sum(const Stream& stream) {
  const Tensor out = Tensor::empty(device_, {1}, DType::kF64, {MemoryCategory::kWorkspace, "weight norm"});
  kernels::square_sum(stream, {.x = main_, .out = out});
  return out;
}

}  // namespace

std::unique_ptr<TrainingStore> make_plain_store(Device& device, DType compute_dtype, const OptimizerConfig* optimizer) {
  return std::make_unique<PlainStore>(device, compute_dtype, optimizer);
}

}  // namespace conclave
