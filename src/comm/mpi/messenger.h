// Messages between processes: everything here is non-blocking MPI under one lock, and waits are loops that can end
// early.
//
// The lock makes MPI_THREAD_SERIALIZED enough: the host thread and the threads of side streams take turns, and whoever
// waits makes progress for all. So an operation on a side stream proceeds while the host computes.
//
// One MPI communicator carries all groups. A message is told apart by its tag: which channel of the two processes,
// which call, which phase of it. Every group that two processes share is a channel of theirs; the lower rank numbers it
// when it first speaks there and announces the number. So making a group needs no meeting of its members.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/call.h"
#include "comm/world.h"

namespace conclave {

/// Throws with MPI's own text.
void check_mpi(int code, const char* what);

/// Messages posted together. Peers are ranks of the world.
class Batch {
 public:
  bool empty() const { return requests_.empty(); }

 private:
  friend class Messenger;
  struct Expected {
    int64_t peer = 0;
    int64_t bytes = -1;  ///< of a receive; -1: a send
  };
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<Expected> expected_;
  bool truncated_ = false;
};

class Messenger {
 public:
  Messenger(const CommSettings& settings, int ranks_on_machine);
  ~Messenger();
  Messenger(const Messenger&) = delete;
  Messenger& operator=(const Messenger&) = delete;

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  CommSettings settings() const;
  void configure(const CommSettings& settings);

  /// Number of the channel of a group (named by a key that its members compute alike) with `peer`; waits for the peer's
  /// word if it is the lower rank. `what` as in wait().
  int channel(int64_t peer, uint64_t group_key, const std::function<std::string()>& what);

  void post_send(Batch& batch, int64_t peer, int tag, const void* data, int64_t bytes);
  void post_receive(Batch& batch, int64_t peer, int tag, void* data, int64_t bytes);
  /// Waits for all of a batch and empties it. `what` describes the operation where the wait is in vain; the first to
  /// know who is missing should report, so a wait that hangs on others' waits has `grace_seconds` more.
  void wait(Batch& batch, const std::function<std::string()>& what, double grace_seconds = 0);
  /// Waits for several, in whatever order they come: calls arrived(i), which may throw, as soon as batch i is here.
  void wait_each(std::vector<Batch>& batches, const std::function<void(size_t)>& arrived,
                 const std::function<std::string()>& what);
  /// An operation failed, perhaps on a side stream that nobody waits for yet: all other waits of this rank end with it.
  void note_failure(const std::exception_ptr& failure);

  /// Headers of --check-collectives, numbered between each two processes in the order of issue.
  int64_t send_header(int64_t peer, const CallHeader& header);
  void receive_header(Batch& batch, int64_t peer, int64_t number, CallHeader& header);

  /// Tells everybody spoken to that this rank's work is over, and waits until all are here.
  void leave();

 private:
  struct Control {
    enum Kind : int64_t { kChannel, kLeft };
    int64_t kind = kLeft;
    uint64_t group_key = 0;
    int64_t channel = 0;
  };
  struct Outgoing {
    Control control;
    CallHeader header;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  using ChannelKey = std::pair<int64_t, uint64_t>;

  mutable std::mutex mutex_;
  CommSettings settings_;
  bool is_crowded_;  ///< more ranks than processors
  int64_t rank_ = 0, size_ = 1;
  MPI_Comm data_ = MPI_COMM_NULL, control_ = MPI_COMM_NULL, headers_ = MPI_COMM_NULL;
  Control incoming_;
  MPI_Request incoming_request_ = MPI_REQUEST_NULL;
  std::list<Outgoing> outgoing_;  ///< control messages and headers under way
  std::map<ChannelKey, int> channels_;
  std::map<int64_t, int> next_channel_;
  std::map<int64_t, int64_t> header_counts_;
  std::set<int64_t> spoken_to_, left_;
  std::exception_ptr failure_;

  void post_incoming();
  void send_control(int64_t peer, const Control& control);
  void progress();
  bool test(Batch& batch);
  void check_received(const Batch& batch, const std::function<std::string()>& what) const;
  void abandon(Batch& batch);
  std::vector<int64_t> missing(Batch& batch);
  void give_up_if_vain(const std::function<std::vector<int64_t>()>& missing, const std::function<std::string()>& what,
                       double waited, double limit);
  void poll_until(const std::function<bool()>& done, const std::function<std::vector<int64_t>()>& missing,
                  const std::function<std::string()>& what, double grace_seconds);
};

}  // namespace conclave
