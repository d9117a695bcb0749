// What ranks in one process share: who failed or left, the groups, and the order of calls between any two.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/call.h"
#include "comm/world.h"

namespace conclave {

class ThreadGroup;

class JobBoard {
 public:
  JobBoard(int64_t ranks, const CommSettings& settings);
  ~JobBoard();

  const CommSettings& settings() const { return settings_; }
  std::shared_ptr<ThreadGroup> group(const std::string& name, const std::vector<int64_t>& ranks);

  /// The first failure counts; waits of all ranks end (they look several times a second).
  void fail(int64_t rank, std::exception_ptr failure);
  /// A rank's work is over: whoever waits for it waits in vain.
  void leave(int64_t rank);
  bool has_left(int64_t rank) const { return left_[static_cast<size_t>(rank)]; }
  bool failed() const { return failed_; }
  /// Throws PeerFailed if a rank failed.
  void check() const;
  /// Throws the first failure with its rank, if there is one.
  void rethrow() const;

  /// Notes that `rank` issued a call whose header for member `peer` (a rank of the world) is given. Throws
  /// CollectiveMismatch if the peer's call of the same place in the order of the two is another one.
  void note_call(int64_t rank, int64_t peer, const CallHeader& header);

 private:
  using Pair = std::pair<int64_t, int64_t>;

  CommSettings settings_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::vector<int64_t>>, std::shared_ptr<ThreadGroup>> groups_;
  std::map<Pair, int64_t> calls_;                                          ///< (rank, peer) -> calls that rank issued
  std::map<std::tuple<int64_t, int64_t, int64_t>, CallHeader> one_sided_;  ///< (rank, peer, place): peer's not seen yet
  std::vector<std::atomic<bool>> left_;
  std::atomic<bool> failed_{false};
  int64_t failed_rank_ = 0;
  std::exception_ptr failure_;
};

}  // namespace conclave
