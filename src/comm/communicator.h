// Collective operations of a group of ranks, on a stream: work enqueued before is visible to the operation, work
// enqueued after sees its result. Each call carries a name for diagnostics. Sums have a fixed order: same bits every
// run, identical on all members.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace conclave {

enum class ReduceOp { kSum, kMax, kMin };

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual const std::string& group() const = 0;  ///< e.g. "tp"
  virtual int rank() const = 0;                  ///< in the group
  virtual int size() const = 0;

  /// x [N] in place.
  virtual void all_reduce(const Stream& stream, const Tensor& x, ReduceOp op, const char* name) = 0;
  /// in [size*N] -> out [N]: member r gets the sum of everybody's piece r.
  virtual void reduce_scatter(const Stream& stream, const Tensor& in, const Tensor& out, const char* name) = 0;
  /// in [N] -> out [size*N], in rank order.
  virtual void all_gather(const Stream& stream, const Tensor& in, const Tensor& out, const char* name) = 0;
  /// Rows of `in` [sum(send), W] go to members in order, `send[r]` rows to member r; `out` [sum(receive), W] likewise.
  virtual void all_to_all_rows(const Stream& stream, const Tensor& in, const std::vector<int64_t>& send,
                               const Tensor& out, const std::vector<int64_t>& receive, const char* name) = 0;
  virtual void broadcast(const Stream& stream, const Tensor& x, int root, const char* name) = 0;
  virtual void barrier(const char* name) = 0;
};

/// The group of one: every operation is a copy or nothing.
std::unique_ptr<Communicator> make_self_communicator(const std::string& group);

}  // namespace conclave
