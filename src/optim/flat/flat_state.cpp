// What a checkpoint holds of flat buffers.
#include <algorithm>

#include "optim/flat/flat_store.h"

namespace conclave {

// Parts in order of declaration.
std::vector<std::pair<const FlatGrid*, const Part*>> FlatStore::in_order(bool owned) const {
  std::vector<std::pair<const FlatGrid*, const Part*>> out;
  for (const auto& held : held_) {
    for (const Part& part : owned ? held->grid.owned_parts() : held->grid.held_parts())
      out.emplace_back(&held->grid, &part);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.first->placed()[a.second->slot].parameter->index < b.first->placed()[b.second->slot].parameter->index;
  });
  return out;
}

void FlatStore::add_state(const FlatGrid& grid, const Part& part, std::vector<StateTensor>& out) const {
  const ParameterSpec& spec = grid.placed()[part.slot].parameter->spec;
  const ShardSpec shard = shard_of_flat_range(spec.shard, part.local, part.count);
  const auto add_optimizer = [&](const char* kind, const Tensor& states) {
    if (states.defined())
      out.push_back(
          {fmt::format("optimizer.{}.{}", kind, spec.name), shard, states.flat_slice(part.held, part.count), true});
  };
  out.push_back({spec.name, shard, grid.main_of(part), false});
  add_optimizer(grid.second.defined() ? "exp_avg" : "momentum", grid.first);
  add_optimizer("exp_avg_sq", grid.second);
}

std::vector<StateTensor> FlatStore::state() {
  wait_for_weights();
  std::vector<StateTensor> out;
  for (const auto& [grid, part] : in_order(false)) add_state(*grid, *part, out);
  for (const BufferSpec& spec : buffer_specs_)
    out.push_back({spec.name, ShardSpec::whole(spec.shape), buffers_.at(spec.name), false});
  return out;
}

std::vector<StateTensor> FlatStore::owned_state() {
  wait_for_weights();
  std::vector<StateTensor> out;
  if (held_[0]->grid.is_first_instance()) {
    for (const auto& [grid, part] : in_order(true)) add_state(*grid, *part, out);
  }
  // All ranks of a pipeline stage hold its buffers.
  const bool first = groups_.layout().place(GroupKind::kTensorDataContext, groups_.rank())->position == 0;
  for (const BufferSpec& spec : buffer_specs_) {
    if (first) out.push_back({spec.name, ShardSpec::whole(spec.shape), buffers_.at(spec.name), false});
  }
  return out;
}

std::vector<StateTensor> FlatStore::owned_gradients() {
  std::vector<StateTensor> out;
  for (const auto& [grid, part] : in_order(true)) {
    const ParameterSpec& spec = grid->placed()[part->slot].parameter->spec;
    out.push_back({spec.name, shard_of_flat_range(spec.shard, part->local, part->count),
                   grid->gradients.flat_slice(part->flat, part->count), false});
  }
  return out;
}

}  // namespace conclave
