#include "comm/process_groups.h"

#include "base/error.h"

namespace conclave {

const char* group_name(GroupKind kind) {
  switch (kind) {
    case GroupKind::kTensor:
      return "tp";
    case GroupKind::kContext:
      return "cp";
    case GroupKind::kData:
      return "dp";
    case GroupKind::kDataContext:
      return "dp-cp";
    case GroupKind::kPipeline:
      return "pp";
    case GroupKind::kTensorPipeline:
      return "tp-pp";
    case GroupKind::kTensorData:
      return "tp-dp";
    case GroupKind::kTensorContext:
      return "tp-cp";
    case GroupKind::kTensorDataContext:
      return "tp-dp-cp";
    case GroupKind::kEmbedding:
      return "embedding";
    case GroupKind::kPositionEmbedding:
      return "position-embedding";
    case GroupKind::kExpert:
      return "ep";
    case GroupKind::kExpertTensor:
      return "etp";
    case GroupKind::kExpertTensorExpert:
      return "etp-ep";
    case GroupKind::kExpertTensorExpertPipeline:
      return "etp-ep-pp";
    case GroupKind::kExpertData:
      return "edp";
    case GroupKind::kDataContextOfInstance:
      return "dp-cp-of-instance";
    case GroupKind::kExpertDataOfInstance:
      return "edp-of-instance";
    case GroupKind::kExpertDataAcrossInstances:
      return "edp-across-instances";
    case GroupKind::kInstance:
      return "instance";
  }
  return "?";
}

ProcessGroups::ProcessGroups(RankLayout layout, World& world, bool sequence_parallel)
    : layout_(std::move(layout)), world_(world), part_(model_part(layout_, world.rank(), sequence_parallel)) {
  CONCLAVE_CHECK_EQ(world.size(), layout_.sizes().world, "ranks of the world against those of the layout");
}

ProcessGroups& ProcessGroups::single() {
  thread_local const std::unique_ptr<World> world = make_self_world();
  thread_local ProcessGroups groups(RankLayout(LayoutSizes{}), *world, false);
  return groups;
}

void ProcessGroups::prepare(const Stream& stream) {
  if (stream.device().kind() != DeviceKind::kCuda || world_.size() == 1) return;
  // In one order everywhere: whoever is at a kind waits only for ranks that are not yet there.
  for (int number = 0; number <= static_cast<int>(GroupKind::kInstance); ++number) {
    const auto kind = static_cast<GroupKind>(number);
    const std::optional<GroupPlace> place = layout_.place(kind, rank());
    if (!place || layout_.group(kind, place->index).size() == 1) continue;
    const bool exchanges = kind == GroupKind::kPipeline || kind == GroupKind::kContext;
    of(kind).prepare(stream, exchanges ? Communicator::Use::kAlsoExchanges : Communicator::Use::kCollectives);
  }
}

Communicator& ProcessGroups::of(GroupKind kind) {
  const char* name = group_name(kind);
  const auto found = made_.find(name);
  if (found != made_.end()) return *found->second;
  const std::optional<GroupPlace> place = layout_.place(kind, rank());
  CONCLAVE_CHECK(place.has_value(), "[comm] rank {} is in no '{}' group", rank(), name);
  return custom(name, layout_.group(kind, place->index));
}

Communicator& ProcessGroups::context_level(int64_t level) {
  return custom(fmt::format("cp-{}", level),
                layout_.context_level_group(level, layout_.context_level_index(level, rank())));
}

Communicator& ProcessGroups::custom(const std::string& name, const std::vector<int64_t>& ranks) {
  Communicator*& made = made_[name];
  if (made == nullptr) made = &world_.group(name, ranks);
  return *made;
}

}  // namespace conclave
