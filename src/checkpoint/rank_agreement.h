// Small facts that all ranks of a save must share: numbers, readiness, the first failure.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace conclave {

/// The text of what `work` throws; empty if it does not.
template <typename Work>
std::string failure_of(const Work& work) {
  try {
    work();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// Collective calls over `world`; with one rank no tensor is touched.
class RankAgreement {
 public:
  RankAgreement(Communicator& world, const Stream& stream) : world_(&world), stream_(stream) {}
  int rank() const { return world_->rank(); }
  bool is_alone() const { return world_->size() == 1; }

  /// Everybody's numbers, in rank order. All give as many.
  std::vector<int64_t> gather(const std::vector<int64_t>& mine);
  /// Rank 0's number.
  int64_t share_of_first(int64_t mine) { return gather({mine})[0]; }
  /// Whether `mine` holds on every rank.
  bool all(bool mine);
  /// Throws UserError on every rank if `failure` is not empty on one: the text of the lowest such rank.
  void fail_together(const std::string& failure);

 private:
  Communicator* world_;
  Stream stream_;
};

}  // namespace conclave
