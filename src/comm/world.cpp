#include "comm/world.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace conclave {

Communicator& World::group(const std::string& name, const std::vector<int64_t>& ranks) {
  for (const auto& group : groups_) {
    if (group->group() == name && group->world_ranks() == ranks) return *group;
  }
  groups_.push_back(make(name, ranks));
  return *groups_.back();
}

std::unique_ptr<Communicator> World::make(const std::string& name, const std::vector<int64_t>& ranks) {
  const auto mine = std::find(ranks.begin(), ranks.end(), rank_);
  CONCLAVE_CHECK(mine != ranks.end(), "rank {} is not in the group {} that it asks for", rank_, name);
  for (const int64_t rank : ranks) {
    CONCLAVE_CHECK(0 <= rank && rank < size_, "group {}: rank {} of {}", name, rank, size_);
  }
  std::vector<int64_t> sorted = ranks;
  std::sort(sorted.begin(), sorted.end());
  CONCLAVE_CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), "group {} has a rank twice", name);
  return make_group(name, ranks, static_cast<int>(mine - ranks.begin()));
}

Communicator& World::all() {
  std::vector<int64_t> ranks(static_cast<size_t>(size_));
  std::iota(ranks.begin(), ranks.end(), 0);
  return group("world", ranks);
}

}  // namespace conclave
