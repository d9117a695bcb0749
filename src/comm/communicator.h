// Collective operations of a group of ranks, on a stream: work enqueued before is visible to the operation, work
// enqueued after sees its result. Each call carries a name for diagnostics.
//
// On the default stream of cpu and sim a call returns when it is done. On a side stream (Device::make_stream) it is
// enqueued and runs there while the host goes on; an Event recorded after it tells when it is done. Tensors are kept
// alive until then, but until then the host must neither write what the call reads nor read or write what it writes.
//
// Sums are made in group-rank order, ((x0 + x1) + x2) + ..., from left to right for every element: f32 in f32, f64 in
// f64, bf16 in f32 with one rounding at the end, integers modulo 2^bits. So the bits are the same in every run, on all
// members, and for every transport (self, threads, mpi). Maxima and minima of floats with a NaN among them are NaN.
//
// Sums, maxima and minima exist for f32, f64, bf16, i32, i64 and u8; all else moves elements of any dtype. Zero sizes
// are legal everywhere. All members call the same operations of a group in the same order, issued by one host thread
// per rank, whatever streams they go to; the two directions between two members are ordered apart (exchange).
//
// Errors: InternalError for arguments that do not fit; CollectiveMismatch, CollectiveTimeout and PeerFailed
// (comm/failure.h) from the call or, for a side stream, from the wait for its event.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/traffic.h"
#include "tensor/tensor.h"

namespace conclave {

enum class ReduceOp { kSum, kMax, kMin };

/// One side of a message between two members.
struct Transfer {
  enum class Direction { kSend, kReceive };
  Direction direction = Direction::kSend;
  int peer = 0;   ///< rank in the group, not one's own
  Tensor tensor;  ///< as many bytes on both sides
};

struct CollectiveCall;

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const std::string& group() const { return group_; }  ///< e.g. "tp"
  int rank() const { return rank_; }                   ///< in the group
  int size() const { return static_cast<int>(world_ranks_.size()); }
  /// Members as ranks of the world, in group order.
  const std::vector<int64_t>& world_ranks() const { return world_ranks_; }

  /// x [N] in place.
  void all_reduce(const Stream& stream, const Tensor& x, ReduceOp op, const char* name);
  /// in [size*N] -> out [N]: member r gets the sum of everybody's piece r. `out` may be one's own piece of `in`.
  void reduce_scatter(const Stream& stream, const Tensor& in, const Tensor& out, const char* name);
  /// The same with pieces of pieces[r] elements, given alike by all: in [sum(pieces)] -> out [pieces[rank]].
  void reduce_scatter(const Stream& stream, const Tensor& in, const std::vector<int64_t>& pieces, const Tensor& out,
                      const char* name);
  /// in [N] -> out [size*N], in rank order. `in` may be one's own piece of `out`.
  void all_gather(const Stream& stream, const Tensor& in, const Tensor& out, const char* name);
  /// The same with pieces of pieces[r] elements, given alike by all: in [pieces[rank]] -> out [sum(pieces)].
  void all_gather(const Stream& stream, const Tensor& in, const std::vector<int64_t>& pieces, const Tensor& out,
                  const char* name);
  /// Rows of `in` [sum(send), W] go to members in order, `send[r]` rows to member r; `out` [sum(receive), W] likewise.
  /// The two do not overlap.
  void all_to_all_rows(const Stream& stream, const Tensor& in, const std::vector<int64_t>& send, const Tensor& out,
                       const std::vector<int64_t>& receive, const char* name);
  /// x of member `root` -> x of all.
  void broadcast(const Stream& stream, const Tensor& x, int root, const char* name);

  /// Sends and receives posted together: done when all are, in whatever order the peers come. Between two members,
  /// the nth message sent in a direction meets the nth receive, across calls. A message is done when both sides
  /// called: two ranks that each send first, by separate calls on one stream, wait for each other for ever; one
  /// exchange, or a stream per direction, does not. Tensors that are received into do not overlap others.
  void exchange(const Stream& stream, std::vector<Transfer> transfers, const char* name);
  void send(const Stream& stream, const Tensor& x, int peer, const char* name);
  void receive(const Stream& stream, const Tensor& x, int peer, const char* name);

  enum class Use { kCollectives, kAlsoExchanges };
  /// Collective: what the transport would make when first used on this device is made now, while nothing is under way.
  virtual void prepare(const Stream& /*stream*/, Use /*use*/) {}

  /// The host waits until every member's host is here; says nothing about side streams.
  void barrier(const char* name);

  /// Counted when calls are issued; the program may reset it.
  Traffic& traffic() { return traffic_; }
  const Traffic& traffic() const { return traffic_; }

 protected:
  Communicator(std::string group, std::vector<int64_t> world_ranks, int rank);
  /// Carries out a call that was checked and counted, in stream order.
  virtual void submit(const Stream& stream, CollectiveCall call) = 0;
  virtual void wait_for_all(CollectiveCall call) = 0;  ///< barrier

 private:
  std::string group_;
  std::vector<int64_t> world_ranks_;
  int rank_;
  Traffic traffic_;
  int64_t issued_ = 0;
  std::map<std::pair<int, Transfer::Direction>, int64_t> issued_transfers_;

  void issue(const Stream& stream, CollectiveCall call);
};

/// The group of one: every operation is a copy or nothing.
std::unique_ptr<Communicator> make_self_communicator(const std::string& group);

}  // namespace conclave
