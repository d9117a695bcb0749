// The steps of a training step in flat buffers.
#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/optimizer.h"
#include "optim/flat/flat_store.h"

namespace conclave {

void FlatStore::begin_step(const Stream& stream, int64_t micro_batches) {
  for (const auto& held : held_) {
    held->reduction->begin_step(micro_batches);
    const Tensor& gradients = held->grid.gradients;
    if (pieces_are_zero_) {
      for (const FlatRange& range : held->rest)
        kernels::fill(stream, {.x = gradients.flat_slice(range.begin, range.length()), .value = 0});
    } else {
      kernels::fill(stream, {.x = gradients, .value = 0});
    }
    for (const PlacedParameter& place : held->grid.placed()) {
      for (const Tensor& extra : place.extra_uses) kernels::fill(stream, {.x = extra, .value = 0});
    }
  }
  pieces_are_zero_ = true;
}

void FlatStore::sum_over_tensor(const Stream& stream, const FlatGrid& grid) {
  const FlatRange range = grid.partial_over_tensor();
  if (range.length() == 0) return;
  Communicator& tensor = groups_.of(GroupKind::kTensor);
  if (tensor.size() == 1) return;
  tensor.all_reduce(stream, grid.gradients.flat_slice(range.begin, range.length()), ReduceOp::kSum,
                    "gradients of parts of the sequence");
}

void FlatStore::sum_over_stages(const Stream& stream, const FlatGrid& grid) {
  for (const PlacedParameter& place : grid.placed()) {
    if (!place.parameter->spec.shared_by_stages || place.count == 0) continue;
    Communicator& stages = groups_.of(GroupKind::kEmbedding);
    if (stages.size() == 1) continue;
    stages.all_reduce(stream, grid.gradients.flat_slice(place.begin, place.count), ReduceOp::kSum,
                      "gradients of a parameter of two stages");
  }
}

void FlatStore::finalize_gradients(const Stream& stream, double scale) {
  pieces_are_zero_ = false;
  for (const auto& held : held_) {
    held->reduction->sum_uses(stream);
    sum_over_tensor(stream, held->grid);
    sum_over_stages(stream, held->grid);
  }
  for (const auto& held : held_) {
    held->reduction->finish(stream);
    if (scale == 1) continue;
    for (const Part& piece : held->pieces) {
      const Tensor x = held->grid.gradients.flat_slice(piece.flat, piece.count);
      kernels::scale(stream, {.x = x, .y = x, .scale = scale});
    }
  }
}

void FlatStore::sum_over_instance(const Stream& stream, const Tensor& x, const char* name) {
  Communicator& instance = groups_.of(GroupKind::kInstance);
  if (instance.size() > 1) instance.all_reduce(stream, x, ReduceOp::kSum, name);
}

ClipResult FlatStore::clip(const Stream& stream, double max_norm) {
  const MemoryTag tag{MemoryCategory::kWorkspace, "clip"};
  const Tensor sum = Tensor::empty(device_, {1}, DType::kF64, tag);
  ClipResult result{Tensor::empty(device_, {1}, DType::kF32, tag), Tensor::empty(device_, {1}, DType::kF32, tag)};
  kernels::fill(stream, {.x = sum, .value = 0});
  for (const auto& held : held_) {
    for (const Part& part : held->norms) {
      kernels::square_sum(stream, {.x = held->grid.gradients.flat_slice(part.flat, part.count),
                                   .out = sum,
                                   .accumulate = kernels::Accumulate::kAdd});
    }
  }
  sum_over_instance(stream, sum, "gradient norm");
  kernels::clip_scale(stream, {.square_sum = sum, .norm = result.norm, .scale = result.scale, .max_norm = max_norm});
  return result;
}

Tensor FlatStore::count_zero_gradients(const Stream& stream) {
  const Tensor out = Tensor::empty(device_, {1}, DType::kI64, {MemoryCategory::kWorkspace, "zeros"});
  kernels::fill(stream, {.x = out, .value = 0});
  for (const auto& held : held_) {
    for (const Part& part : held->grid.owned_parts()) {  // not merged: the gaps between parameters are zero too
      kernels::count_zeros(stream, {.x = held->grid.gradients.flat_slice(part.flat, part.count),
                                    .out = out,
                                    .accumulate = kernels::Accumulate::kAdd});
    }
  }
  sum_over_instance(stream, out, "number of zero gradients");
  return out;
}

Tensor FlatStore::weight_square_sum(const Stream& stream) {
  const Tensor out = Tensor::empty(device_, {1}, DType::kF64, {MemoryCategory::kWorkspace, "weight norm"});
  kernels::fill(stream, {.x = out, .value = 0});
  for (const auto& held : held_) {
    for (const Part& part : held->norms) {
      kernels::square_sum(stream, {.x = held->grid.main_of(part), .out = out, .accumulate = kernels::Accumulate::kAdd});
    }
  }
  sum_over_instance(stream, out, "weight norm");
  return out;
}

void FlatStore::update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) {
  wait_for_weights();
  for (const auto& held : held_) {
    for (const Part& run : held->runs) update_run(stream, held->grid, run, rates, gradient_scale);
    held->gathering->start(stream);
  }
  pieces_are_zero_ = true;
}

void FlatStore::update_run(const Stream& stream, const FlatGrid& grid, const Part& run, const UpdateRates& rates,
                           const Tensor& gradient_scale) const {
  const ParameterSpec& spec = grid.placed()[run.slot].parameter->spec;
  const auto state = [&](const Tensor& states) {
    return states.defined() ? states.flat_slice(run.held, run.count) : Tensor();
  };
  const Tensor compute = grid.main.defined() ? grid.compute.flat_slice(run.flat, run.count) : Tensor();
  const Tensor gradient = grid.gradients.flat_slice(run.flat, run.count);
  const bool decoupled = spec.role == ParameterRole::kEmbedding || spec.role == ParameterRole::kOutput;
  const double lr = decoupled ? rates.decoupled_lr : rates.lr;
  const double weight_decay = spec.weight_decay ? rates.weight_decay : 0.0;
  if (optimizer_.kind == OptimizerKind::kAdam) {
    kernels::adamw(stream, {.weight = grid.main_of(run),
                            .gradient = gradient,
                            .exp_avg = state(grid.first),
                            .exp_avg_sq = state(grid.second),
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
    kernels::sgd(stream, {.weight = grid.main_of(run),
                          .gradient = gradient,
                          .momentum_buffer = state(grid.first),
                          .compute = compute,
                          .lr = lr,
                          .momentum = optimizer_.momentum,
                          .weight_decay = weight_decay,
                          .step = rates.step,
                          .grad_scale = gradient_scale,
                          .gradient_after = kernels::GradientAfter::kZero});
  }
}

}  // namespace conclave
