// The collectives of a group of processes, made of messages.
//
// Every member sums one piece of a reduction: it gets that piece from all, adds in rank order, and (all-reduce) gives
// the sum to all. Long pieces go in chunks, so that a bounded staging area does and copying, adding and sending
// overlap.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/call.h"
#include "comm/mpi/messenger.h"

namespace conclave {

class Reduction;

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(Messenger& messenger, const std::string& name, const std::vector<int64_t>& ranks, int position);

 protected:
  void submit(const Stream& stream, CollectiveCall call) override;
  void wait_for_all(CollectiveCall call) override;

 private:
  struct Numbered {
    CollectiveCall call;
    std::vector<CallHeader> headers;  ///< of --check-collectives, by member
    std::vector<int64_t> header_numbers;
  };

  Messenger& messenger_;
  uint64_t key_;
  std::vector<std::atomic<int>> channels_;  ///< by member; -1: not known yet

  int64_t world_rank(int member) const { return world_ranks()[static_cast<size_t>(member)]; }
  std::shared_ptr<Numbered> begin(CollectiveCall call);
  void carry_out(Numbered& numbered);
  void check_headers(Numbered& numbered);

  int tag(int peer, int64_t sequence, int phase, const std::function<std::string()>& what);
  void send_to(Batch& batch, int peer, const CollectiveCall& call, int phase, const Tensor& from, int64_t begin,
               int64_t count);
  void receive_from(Batch& batch, int peer, const CollectiveCall& call, int phase, const Tensor& to, int64_t begin,
                    int64_t count);
  std::function<std::string()> what(const CollectiveCall& call) const;

  void all_reduce_short(const CollectiveCall& call);
  void reduce(Reduction& reduction);
  void all_gather_pieces(const CollectiveCall& call);
  void all_to_all(const CollectiveCall& call);
  void broadcast_tree(const CollectiveCall& call);
  void exchange_all(const CollectiveCall& call);
  void meet(const CollectiveCall& call);
};

}  // namespace conclave
