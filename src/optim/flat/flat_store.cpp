#include "optim/flat/flat_store.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace conclave {
namespace {

bool is_decoupled(const ParameterSpec& spec) {
  return spec.role == ParameterRole::kEmbedding || spec.role == ParameterRole::kOutput;
}

bool have_equal_rates(const ParameterSpec& a, const ParameterSpec& b) {
  return a.weight_decay == b.weight_decay && is_decoupled(a) == is_decoupled(b);
}

bool always(const ParameterSpec&, const ParameterSpec&) { return true; }

// What no piece covers, of [0, elements).
std::vector<FlatRange> complement(const std::vector<Part>& pieces, int64_t elements) {
  std::vector<FlatRange> out;
  int64_t end = 0;
  for (const Part& piece : pieces) {
    if (piece.flat > end) out.push_back({end, piece.flat});
    end = piece.flat + piece.count;
  }
  if (end < elements) out.push_back({end, elements});
  return out;
}

}  // namespace

FlatStore::FlatStore(const TrainingStoreArgs& args, bool sharded)
    : device_(args.device),
      compute_dtype_(args.compute_dtype),
      trains_(args.optimizer != nullptr),
      optimizer_(trains_ ? *args.optimizer : OptimizerConfig{}),
      config_(args.config),
      sharded_(sharded),
      groups_(args.groups) {
  for (const ParameterGrid grid : {ParameterGrid::kDense, ParameterGrid::kExpert}) {
    const FlatGridSettings settings{grid, sharded, config_.unit, config_.bucket_elements, config_.bucket_count};
    held_.push_back(std::make_unique<Held>(FlatGrid(settings, groups_)));
  }
}

Parameter* FlatStore::declare(ParameterSpec spec) {
  CONCLAVE_CHECK(!allocated_, "'{}' declared after allocation", spec.name);
  for (const Parameter* other : parameters_)
    CONCLAVE_CHECK(other->spec.name != spec.name, "two parameters are called '{}'", spec.name);
  const bool dense = spec.grid == ParameterGrid::kDense;
  CONCLAVE_CHECK(dense || !(spec.partial_over_tensor || spec.shared_by_stages),
                 "'{}' is of the experts' grid: it can be no part of a sum over TP and belong to no other stage",
                 spec.name);
  CONCLAVE_CHECK(spec.replica.empty() || spec.replica.size() == spec.shard.boxes.size(),
                 "'{}' has {} boxes and says of {} whether they are replicas", spec.name, spec.shard.boxes.size(),
                 spec.replica.size());
  CONCLAVE_CHECK_EQ(Shape(local_shape(spec)).element_count(), spec.shard.element_count(),
                    "local shape of '{}' against its boxes", spec.name);
  const int index = static_cast<int>(parameters_.size());
  owned_parameters_.push_back(std::make_unique<Parameter>(Parameter{std::move(spec), index}));
  parameters_.push_back(owned_parameters_.back().get());
  held_[dense ? 0 : 1]->grid.add(*parameters_.back());
  return parameters_.back();
}

void FlatStore::declare_buffer(BufferSpec spec) { buffer_specs_.push_back(std::move(spec)); }

void FlatStore::find_parts(Held& held) const {
  const FlatGrid& grid = held.grid;
  held.runs = grid.merged(grid.held_parts(), have_equal_rates);
  held.norms = grid.merged(grid.owned_parts(), always);
  held.pieces = grid.merged(grid.held_parts(), always);
  held.rest = complement(held.pieces, grid.elements());
}

Tensor FlatStore::flat(int64_t elements, DType dtype, MemoryCategory category, const char* name) const {
  const Tensor tensor = Tensor::empty(device_, {elements}, dtype, {category, name});
  kernels::fill(device_.default_stream(), {.x = tensor, .value = 0});
  return tensor;
}

void FlatStore::allocate(uint64_t seed) {
  allocated_ = true;
  places_.resize(parameters_.size());
  for (size_t index = 0; index < held_.size(); ++index) {
    Held& held = *held_[index];
    held.grid.freeze();
    const std::vector<PlacedParameter>& placed = held.grid.placed();
    for (size_t slot = 0; slot < placed.size(); ++slot)
      places_[static_cast<size_t>(placed[slot].parameter->index)] = {index, slot};
    find_parts(held);
    allocate_weights(held, seed);
  }
  for (const BufferSpec& spec : buffer_specs_) {
    const Tensor tensor = Tensor::empty(device_, Shape(spec.shape), spec.dtype, {MemoryCategory::kWeights, "buffers"});
    kernels::fill(device_.default_stream(), {.x = tensor, .value = 0});
    CONCLAVE_CHECK(buffers_.emplace(spec.name, tensor).second, "two buffers are called '{}'", spec.name);
  }
  weights_changed(device_.default_stream());
  if (!trains_) return;
  for (const auto& held : held_) allocate_training(*held);
}

void FlatStore::allocate_weights(Held& held, uint64_t seed) {
  FlatGrid& grid = held.grid;
  const bool copies = compute_dtype_ != DType::kF32;
  grid.compute = flat(grid.elements(), compute_dtype_, MemoryCategory::kWeights, "compute weights");
  if (copies) grid.main = flat(grid.held_elements(), DType::kF32, MemoryCategory::kOptimizer, "main weights");
  for (const Part& part : grid.held_parts()) initialize(device_.default_stream(), grid, part, seed);
  held.gathering = std::make_unique<WeightGathering>(
      grid, device_, config_.overlap_param_gather,
      [this, &grid](const Bucket& bucket, const Stream& stream) { gather(grid, bucket, stream); });
}

void FlatStore::allocate_training(Held& held) {
  FlatGrid& grid = held.grid;
  grid.gradients = flat(grid.elements(), DType::kF32, MemoryCategory::kGradients, "gradients");
  for (PlacedParameter& place : grid.placed()) {
    for (int use = 1; use < place.parameter->spec.gradient_uses; ++use) {
      place.extra_uses.push_back(flat(place.count, DType::kF32, MemoryCategory::kGradients, "gradients of further uses")
                                     .view(Shape(local_shape(place.parameter->spec))));
    }
  }
  const bool adam = optimizer_.kind == OptimizerKind::kAdam;
  if (adam || optimizer_.momentum != 0) {
    grid.first = flat(grid.held_elements(), DType::kF32, MemoryCategory::kOptimizer, adam ? "exp_avg" : "momentum");
  }
  if (adam) grid.second = flat(grid.held_elements(), DType::kF32, MemoryCategory::kOptimizer, "exp_avg_sq");
  held.reduction = std::make_unique<GradientReduction>(
      grid, device_,
      GradientReductionSettings{.overlap = config_.overlap_grad_reduce,
                                .in_bf16 = config_.grad_reduce_in_bf16 && compute_dtype_ == DType::kBF16},
      [this, &grid](const Bucket& bucket, const Stream& stream, const Tensor& gradients) {
        reduce(grid, bucket, stream, gradients);
      });
  held.reduction->begin_step(0);
}

void FlatStore::initialize(const Stream& stream, const FlatGrid& grid, const Part& part, uint64_t seed) const {
  const ParameterSpec& spec = grid.placed()[part.slot].parameter->spec;
  const Tensor x = grid.main_of(part);
  if (spec.init.kind == Initializer::Kind::kZeros) return;
  if (spec.init.kind == Initializer::Kind::kOnes) {
    kernels::fill(stream, {.x = x, .value = 1});
    return;
  }
  const bool uniform = spec.init.kind == Initializer::Kind::kUniform;
  kernels::random_fill(stream, {.x = x,
                                .shard = shard_of_flat_range(spec.shard, part.local, part.count),
                                .kind = uniform ? kernels::RandomKind::kUniform : kernels::RandomKind::kNormal,
                                .a = uniform ? -spec.init.std : 0.0,
                                .b = spec.init.std,
                                .source = RandomStream(seed, spec.name)});
}

const PlacedParameter& FlatStore::place_of(const Parameter& parameter) const {
  const Place& place = places_[static_cast<size_t>(parameter.index)];
  return held_[place.grid]->grid.placed()[place.slot];
}

Tensor FlatStore::acquire(const Parameter& parameter) {
  const PlacedParameter& place = place_of(parameter);
  Held& held = held_of(parameter);
  held.gathering->wait_for(place.bucket, device_.default_stream());
  return held.grid.compute.flat_slice(place.begin, place.count).view(Shape(local_shape(parameter.spec)));
}

Tensor FlatStore::gradient(const Parameter& parameter, int use) {
  CONCLAVE_CHECK(trains_, "gradient of '{}' asked for in a store that does not train", parameter.spec.name);
  const PlacedParameter& place = place_of(parameter);
  if (use > 0) return place.extra_uses.at(static_cast<size_t>(use - 1));
  pieces_are_zero_ = false;
  return held_of(parameter)
      .grid.gradients.flat_slice(place.begin, place.count)
      .view(Shape(local_shape(parameter.spec)));
}

void FlatStore::gradient_complete(const Parameter& parameter) {
  if (trains_) held_of(parameter).reduction->complete(places_[static_cast<size_t>(parameter.index)].slot);
}

Tensor FlatStore::buffer(const std::string& name) {
  const auto found = buffers_.find(name);
  CONCLAVE_CHECK(found != buffers_.end(), "no buffer '{}'", name);
  return found->second;
}

Tensor FlatStore::main_weight(const Parameter& parameter) {
  const FlatGrid& grid = held_of(parameter).grid;
  if (!grid.main.defined()) return acquire(parameter);
  const PlacedParameter& place = place_of(parameter);
  const size_t slot = places_[static_cast<size_t>(parameter.index)].slot;
  for (const Part& part : grid.held_parts()) {
    if (part.slot == slot && part.count == place.count)
      return grid.main_of(part).view(Shape(local_shape(parameter.spec)));
  }
  CONCLAVE_CHECK(place.count == 0, "the main weight of '{}' is not held whole by this rank", parameter.spec.name);
  return acquire(parameter);
}

void FlatStore::wait_for_weights() {
  for (const auto& held : held_) held->gathering->wait_for_all(device_.default_stream());
}

void FlatStore::weights_changed(const Stream& stream) {
  wait_for_weights();
  for (const auto& held : held_) {
    const FlatGrid& grid = held->grid;
    for (const Part& piece : held->pieces) {
      if (!grid.main.defined()) break;
      kernels::cast(stream, {.x = grid.main_of(piece), .y = grid.compute.flat_slice(piece.flat, piece.count)});
    }
    held->gathering->start(stream);
  }
}

}  // namespace conclave
