// Which members of an expert group are on which node, and who passes on what comes from other nodes.
#pragma once

#include <cstdint>
#include <vector>

#include "moe/dispatch/expert_group.h"

namespace conclave {

class NodeMap {
 public:
  /// Nodes as the layout's ranks_per_node says.
  explicit NodeMap(const ExpertGroup& group);

  int64_t members() const { return static_cast<int64_t>(node_of_.size()); }   ///< of the group, R
  int64_t nodes() const { return static_cast<int64_t>(members_of_.size()); }  ///< that the group is on, N
  int64_t self() const { return self_; }                                      ///< position in the group
  int64_t node() const { return node_of_[static_cast<size_t>(self_)]; }       ///< own
  int64_t node_of(int64_t member) const { return node_of_[static_cast<size_t>(member)]; }
  const std::vector<int64_t>& members_of(int64_t node) const { return members_of_[static_cast<size_t>(node)]; }
  /// Members of the own node; a position here is a rank in ranks_of_node().
  const std::vector<int64_t>& neighbours() const { return members_of(node()); }
  /// The member of `node` that gets a source's tokens and spreads them: the one at the source's own place in its node.
  int64_t gateway(int64_t source, int64_t node) const;
  Communicator& ranks_of_node() const { return *ranks_of_node_; }
  Communicator& ranks_of_group() const { return *ranks_of_group_; }  ///< ETP fastest, as positions here

  /// homes [E, N+R] u8: nodes, then members, that hold a part of an expert.
  Tensor homes(const Context& context) const;
  /// homes [E, destinations] u8 of the nodes alone, and of the own node's members alone.
  Tensor homes_by_node(const Context& context) const;
  Tensor homes_by_neighbour(const Context& context) const;
  /// [E], 1 for the experts of which a part is with destination d of homes().
  std::vector<uint8_t> experts_at(int64_t destination) const;
  /// Sources in order of ExpertGroup::source(), as positions in the group.
  std::vector<int64_t> members_by_source() const;

 private:
  ExpertGroup group_;
  int64_t self_ = 0;
  std::vector<int64_t> node_of_, place_in_node_;
  std::vector<std::vector<int64_t>> members_of_;
  Communicator *ranks_of_node_ = nullptr, *ranks_of_group_ = nullptr;

  bool holds(int64_t member, int64_t expert) const;
  template <typename Home>
  Tensor table(const Context& context, int64_t destinations, Home home) const;
};

}  // namespace conclave
