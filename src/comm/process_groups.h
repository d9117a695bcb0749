// The communicators of one rank, by kind of group. Each is made when it is first asked for, so a rank holds as many as
// it uses. Members of a group must ask for it in the same order.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/world.h"
#include "layout/model_part.h"

namespace conclave {

class ProcessGroups {
 public:
  /// Of this rank of the world, which must be as large as the layout and outlive this object.
  ProcessGroups(RankLayout layout, World& world, bool sequence_parallel);
  /// One process that holds everything.
  static ProcessGroups& single();

  /// The group of this kind that this rank is in. kEmbedding only where place() says so.
  Communicator& of(GroupKind kind);
  /// One level of a hierarchical context group.
  Communicator& context_level(int64_t level);
  /// A group beyond the kinds: `name` unique, `ranks` of the world in group order, this one among them.
  Communicator& custom(const std::string& name, const std::vector<int64_t>& ranks);

  /// Collective over the world: every group of several ranks of every kind is made and prepared for this device, so
  /// that nobody waits for others' hosts later, in the middle of a step.
  void prepare(const Stream& stream);

  const RankLayout& layout() const { return layout_; }
  int64_t rank() const { return world_.rank(); }
  World& world() const { return world_; }
  const ModelPart& part() const { return part_; }
  void set_context_exchange(std::vector<ContextExchange> kinds) { part_.context_exchange = std::move(kinds); }

 private:
  RankLayout layout_;
  World& world_;
  ModelPart part_;
  std::map<std::string, Communicator*> made_;
};

/// "tp", "cp", "dp", ...: as messages and counters name a group.
const char* group_name(GroupKind kind);

}  // namespace conclave
