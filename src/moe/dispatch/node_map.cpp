#include "moe/dispatch/node_map.h"

#include <algorithm>
#include <map>

namespace conclave {

NodeMap::NodeMap(const ExpertGroup& group) : group_(group) {
  ProcessGroups& groups = group.groups();
  const GroupPlace place = groups.layout().place(GroupKind::kExpertTensorExpert, groups.rank()).value();
  const std::vector<int64_t> ranks = groups.layout().group(GroupKind::kExpertTensorExpert, place.index);
  const int64_t ranks_per_node = groups.layout().sizes().ranks_per_node;
  self_ = place.position;
  std::map<int64_t, int64_t> number;
  for (const int64_t rank : ranks) {
    const int64_t machine = ranks_per_node > 0 ? rank / ranks_per_node : 0;
    const int64_t node = number.emplace(machine, static_cast<int64_t>(number.size())).first->second;
    if (node == nodes()) members_of_.emplace_back();
    std::vector<int64_t>& members = members_of_[static_cast<size_t>(node)];
    place_in_node_.push_back(static_cast<int64_t>(members.size()));
    members.push_back(static_cast<int64_t>(node_of_.size()));
    node_of_.push_back(node);
  }
  std::vector<int64_t> neighbour_ranks;
  for (const int64_t member : neighbours()) neighbour_ranks.push_back(ranks[static_cast<size_t>(member)]);
  ranks_of_group_ = &groups.of(GroupKind::kExpertTensorExpert);
  ranks_of_node_ = &groups.custom("etp-ep-node", neighbour_ranks);
}

int64_t NodeMap::gateway(int64_t source, int64_t node) const {
  const std::vector<int64_t>& members = members_of(node);
  return members[static_cast<size_t>(place_in_node_[static_cast<size_t>(source)]) % members.size()];
}

bool NodeMap::holds(int64_t member, int64_t expert) const {
  return member / group_.tensor().size == group_.owner(expert);
}

template <typename Home>
Tensor NodeMap::table(const Context& context, int64_t destinations, Home home) const {
  std::vector<uint8_t> values;
  for (int64_t e = 0; e < group_.experts(); ++e)
    for (int64_t d = 0; d < destinations; ++d) values.push_back(home(e, d) ? 1 : 0);
  const Tensor out = context.empty({group_.experts(), destinations}, DType::kU8, "dispatch.homes");
  copy_from_host<uint8_t>(context.stream, out, values);
  return out;
}

Tensor NodeMap::homes_by_node(const Context& context) const {
  return table(context, nodes(), [&](int64_t e, int64_t node) {
    const std::vector<int64_t>& members = members_of(node);
    return std::any_of(members.begin(), members.end(), [&](int64_t member) { return holds(member, e); });
  });
}

Tensor NodeMap::homes_by_neighbour(const Context& context) const {
  return table(context, static_cast<int64_t>(neighbours().size()),
               [&](int64_t e, int64_t place) { return holds(neighbours()[static_cast<size_t>(place)], e); });
}

Tensor NodeMap::homes(const Context& context) const {
  return table(context, nodes() + members(), [&](int64_t e, int64_t d) {
    if (d >= nodes()) return holds(d - nodes(), e);
    const std::vector<int64_t>& there = members_of(d);
    return std::any_of(there.begin(), there.end(), [&](int64_t member) { return holds(member, e); });
  });
}

std::vector<uint8_t> NodeMap::experts_at(int64_t destination) const {
  const std::vector<int64_t> there =
      destination >= nodes() ? std::vector<int64_t>{destination - nodes()} : members_of(destination);
  std::vector<uint8_t> out;
  for (int64_t e = 0; e < group_.experts(); ++e)
    out.push_back(std::any_of(there.begin(), there.end(), [&](int64_t member) { return holds(member, e); }) ? 1 : 0);
  return out;
}

std::vector<int64_t> NodeMap::members_by_source() const {
  std::vector<int64_t> out;
  for (int64_t tensor = 0; tensor < group_.tensor().size; ++tensor)
    for (int64_t owner = 0; owner < group_.expert().size; ++owner) out.push_back(tensor + group_.tensor().size * owner);
  return out;
}

}  // namespace conclave
