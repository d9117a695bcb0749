#include "optim/flat/flat_grid.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {
namespace {

// Sums beyond that over data-parallel ranks: behind those that need none come those over TP, then those over stages.
int lateness(const ParameterSpec& spec) {
  if (spec.shared_by_stages) return spec.partial_over_tensor ? 2 : 3;
  return spec.partial_over_tensor ? 1 : 0;
}

// Ranks with the same place in the other optimizer instances of a data-parallel group.
Communicator& across_instances(ProcessGroups& groups, ParameterGrid grid) {
  if (grid == ParameterGrid::kExpert) return groups.of(GroupKind::kExpertDataAcrossInstances);
  const RankLayout& layout = groups.layout();
  const GroupPlace place = *layout.place(GroupKind::kDataContext, groups.rank());
  const std::vector<int64_t> all = layout.group(GroupKind::kDataContext, place.index);
  const int64_t inside = layout.group_size(GroupKind::kDataContextOfInstance);
  std::vector<int64_t> ranks;
  for (int64_t i = place.position % inside; i < static_cast<int64_t>(all.size()); i += inside)
    ranks.push_back(all[static_cast<size_t>(i)]);
  return groups.custom("dp-cp-across-instances", ranks);
}

}  // namespace

FlatGrid::FlatGrid(const FlatGridSettings& settings, ProcessGroups& groups)
    : settings_(settings),
      inside_(&groups.of(settings.grid == ParameterGrid::kDense ? GroupKind::kDataContextOfInstance
                                                                : GroupKind::kExpertDataOfInstance)),
      across_(&across_instances(groups, settings.grid)),
      first_instance_(groups.layout().place(GroupKind::kInstance, groups.rank())->index == 0) {}

int64_t FlatGrid::bucket_elements() const {
  if (settings_.bucket_elements > 0) return settings_.bucket_elements;
  if (settings_.bucket_count <= 0) return default_bucket_elements(inside_->size());
  int64_t elements = 0;
  for (const Parameter* parameter : declared_) elements += parameter->spec.shard.element_count();
  return std::max<int64_t>(1, elements / settings_.bucket_count);
}

void FlatGrid::freeze() {
  std::reverse(declared_.begin(), declared_.end());
  std::stable_sort(declared_.begin(), declared_.end(),
                   [](const Parameter* a, const Parameter* b) { return lateness(a->spec) < lateness(b->spec); });
  std::vector<PlannedParameter> planned;
  size_t split = 0;
  for (const Parameter* parameter : declared_) {
    planned.push_back({parameter->spec.shard.element_count(), unit_elements(parameter->spec, settings_.unit)});
    if (lateness(parameter->spec) == 0) ++split;
  }
  plan_ = plan_buckets(planned, split, bucket_elements(), inside_->size());
  for (size_t bucket = 0; bucket < plan_.buckets.size(); ++bucket) {
    const Bucket& each = plan_.buckets[bucket];
    for (size_t slot = each.first; slot < each.last; ++slot)
      placed_.push_back({declared_[slot], plan_.begins[slot], planned[slot].count, bucket, {}});
    if (each.last <= split) prompt_buckets_ = bucket + 1;
    find_parts(each);
  }
  for (const PlacedParameter& place : placed_) {
    if (!place.parameter->spec.partial_over_tensor) continue;
    if (partial_.length() == 0) partial_.begin = place.begin;
    partial_.end = place.begin + place.count;
  }
}

FlatRange FlatGrid::owned_piece(const Bucket& bucket) const {
  const auto rank = static_cast<size_t>(inside_->rank());
  return {bucket.cuts[rank], bucket.cuts[rank + 1]};
}

FlatRange FlatGrid::held_piece(const Bucket& bucket) const {
  return settings_.sharded ? owned_piece(bucket) : FlatRange{bucket.begin, bucket.end};
}

void FlatGrid::find_parts(const Bucket& bucket) {
  const FlatRange held = held_piece(bucket), owned = owned_piece(bucket);
  const auto part_of = [&](size_t slot, const FlatRange& piece) {
    const PlacedParameter& place = placed_[slot];
    const int64_t from = std::max(place.begin, piece.begin), to = std::min(place.begin + place.count, piece.end);
    return Part{slot, from - place.begin, from, held_elements_ + from - held.begin, to - from};
  };
  for (size_t slot = bucket.first; slot < bucket.last; ++slot) {
    if (const Part part = part_of(slot, held); part.count > 0) held_parts_.push_back(part);
    if (const Part part = part_of(slot, owned); part.count > 0) add_owned(part);
  }
  held_elements_ += held.length();
}

void FlatGrid::add_owned(const Part& part) {
  const ParameterSpec& spec = placed_[part.slot].parameter->spec;
  if (spec.replica.empty()) {
    owned_parts_.push_back(part);
    return;
  }
  int64_t start = 0;
  bool open = false;  // the last part ends where this box begins
  for (size_t k = 0; k < spec.shard.boxes.size(); ++k) {
    const int64_t next = start + spec.shard.boxes[k].element_count();
    const int64_t from = std::max(start, part.local), to = std::min(next, part.local + part.count);
    start = next;
    if (from >= to) continue;
    if (spec.replica[k] != 0) {
      open = false;
    } else if (open) {
      owned_parts_.back().count += to - from;
    } else {
      const int64_t skipped = from - part.local;
      owned_parts_.push_back({part.slot, from, part.flat + skipped, part.held + skipped, to - from});
      open = true;
    }
  }
}

std::vector<Part> FlatGrid::merged(const std::vector<Part>& parts,
                                   const std::function<bool(const ParameterSpec&, const ParameterSpec&)>& alike) const {
  std::vector<Part> out;
  const Part* before = nullptr;
  for (const Part& part : parts) {
    bool joins = false;
    if (before != nullptr && part.flat - before->flat == part.held - before->held) {
      const PlacedParameter& place = placed_[before->slot];
      // The next parameter, and nothing but a gap between.
      const bool next = part.local == 0 && before->flat + before->count == place.begin + place.count &&
                        part.flat == place.begin + round_up(place.count, kAlignedElements);
      joins = (next || part.flat == before->flat + before->count) &&
              alike(place.parameter->spec, placed_[part.slot].parameter->spec);
    }
    if (joins) {
      out.back().count = part.flat + part.count - out.back().flat;
    } else {
      out.push_back(part);
    }
    before = &part;
  }
  return out;
}

}  // namespace conclave
