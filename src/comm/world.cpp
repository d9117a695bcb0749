#include "comm/world.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace conclave {

Communicator& World::group(const std::string& name, const std::vector<int64_t>& ranks) {
  for (const auto& group : groups_) {
    if (group->group() == name && group->world_ranks() == ranks) return *group;
  }
  const auto mine = std::find(ranks.begin(), ranks.end(), rank_);
  CONCLAVE_CHECK(mine != ranks.end(), "rank {} is not in the group {} that it asks for", rank_, name);
  for (const int64_t rank : ranks) {
    CONCLAVE_CHECK(0 <= rank && rank < size_ && std::count(ranks.begin(), ranks.end(), rank) == 1,
                   "group {}: rank {} of {} is out of range or there twice", name, rank, size_);
  }
  groups_.push_back(make_group(name, ranks, static_cast<int>(mine - ranks.begin())));
  return *groups_.back();
}

Communicator& World::all() {
  std::vector<int64_t> ranks(static_cast<size_t>(size_));
  std::iota(ranks.begin(), ranks.end(), 0);
  return group("world", ranks);
}

std::string World::traffic_table() const {
  std::string out = fmt::format("{:<24} {:>5} {:<16} {:<32} {:>8} {:>12} {:>12}\n", "group", "size", "operation",
                                "name", "calls", "sent", "received");
  for (const auto& group : groups_) {
    for (const auto& [key, traffic] : group->traffic().by_call()) {
      out += fmt::format("{:<24} {:>5} {:<16} {:<32} {:>8} {:>12} {:>12}\n", group->group(), group->size(),
                         collective_name(key.first), key.second, traffic.calls, human_bytes(traffic.bytes_sent),
                         human_bytes(traffic.bytes_received));
    }
  }
  return out;
}

void World::reset_traffic() {
  for (const auto& group : groups_) group->traffic().reset();
}

}  // namespace conclave
