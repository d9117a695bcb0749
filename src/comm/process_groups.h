// The communicators of one rank, by kind of group. Each is made when it is first asked for, so a rank holds as many as
// it uses. Members of a group must ask for it in the same order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "layout/model_part.h"

namespace conclave {

class ProcessGroups {
 public:
  /// Makes the communicator of a group from its name ("tp", "ep", ...) and the ranks of the world in it, in group
  /// order.
  using Factory =
      std::function<std::unique_ptr<Communicator>(const std::string& name, const std::vector<int64_t>& ranks)>;

  /// `rank` in the world. Groups of one need no factory.
  ProcessGroups(RankLayout layout, int64_t rank, bool sequence_parallel, Factory factory);
  /// One process that holds everything.
  static ProcessGroups& single();

  /// The group of this kind that this rank is in. kEmbedding only where place() says so.
  Communicator& of(GroupKind kind);
  /// One level of a hierarchical context group.
  Communicator& context_level(int64_t level);
  /// A group beyond the kinds: `name` unique, `ranks` of the world in group order, this one among them.
  Communicator& custom(const std::string& name, const std::vector<int64_t>& ranks);

  const RankLayout& layout() const { return layout_; }
  int64_t rank() const { return rank_; }
  const ModelPart& part() const { return part_; }
  /// Groups made so far: byte counters.
  const std::map<std::string, std::unique_ptr<Communicator>>& made() const { return made_; }

 private:
  RankLayout layout_;
  int64_t rank_;
  ModelPart part_;
  Factory factory_;
  std::map<std::string, std::unique_ptr<Communicator>> made_;
};

/// "tp", "cp", "dp", ...: as messages and counters name a group.
const char* group_name(GroupKind kind);

}  // namespace conclave
