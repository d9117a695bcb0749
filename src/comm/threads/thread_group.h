// A group whose members are threads of one process: they meet, look into each other's tensors, and part.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "comm/call.h"

namespace conclave {

class JobBoard;

class ThreadGroup {
 public:
  ThreadGroup(JobBoard& board, std::string name, std::vector<int64_t> world_ranks);

  /// Notes the call for --check-collectives, in the order of issue.
  void note(int rank, const CollectiveCall& call);
  /// Member `rank` carries out its call; returns when its tensors are its own again.
  void meet(int rank, const CollectiveCall& call);
  void exchange(int rank, const CollectiveCall& call);

 private:
  struct Meeting {
    std::vector<const CollectiveCall*> calls;  ///< by member; nothing: not here
    std::vector<bool> came;                    ///< also of those who gave up waiting since
    int arrived = 0, left = 0;
  };
  enum class PostState { kWaiting, kBeingRead, kRead };
  struct Post {
    const Tensor* tensor = nullptr;
    PostState state = PostState::kWaiting;
  };
  using PostKey = std::tuple<int, int, int64_t>;  ///< from, to, place in that direction
  using Lock = std::unique_lock<std::mutex>;

  JobBoard& board_;
  std::string name_;
  std::vector<int64_t> world_ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, std::shared_ptr<Meeting>> meetings_;  ///< by sequence number
  std::map<PostKey, Post> posts_;

  int size() const { return static_cast<int>(world_ranks_.size()); }
  /// Waits for `ready`; throws if the wait is in vain. `missing` lists the members that it hangs on.
  void wait(Lock& lock, const std::string& what, const std::function<bool()>& ready,
            const std::function<std::vector<int>()>& missing);
  void check_agreement(int rank, const std::vector<const CollectiveCall*>& calls) const;
  void move_share(int rank, const std::vector<const CollectiveCall*>& calls) const;
  void take(Lock& lock, int rank, const CollectiveCall& call, size_t index);
  void withdraw(Lock& lock, int rank, const CollectiveCall& call);
};

}  // namespace conclave
