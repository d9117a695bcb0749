#include "comm/communicator.h"

#include <algorithm>
#include <numeric>

#include "comm/call.h"

namespace conclave {
namespace {

int64_t sum(const std::vector<int64_t>& values) { return std::accumulate(values.begin(), values.end(), int64_t{0}); }

void check_reducible(const Tensor& x, const char* operation, const char* name) {
  switch (x.dtype()) {
    case DType::kF32:
    case DType::kF64:
    case DType::kBF16:
    case DType::kI32:
    case DType::kI64:
    case DType::kU8:
      return;
    default:
      CONCLAVE_CHECK(false, "[comm/{}] '{}': {} cannot be reduced; f32, f64, bf16, i32, i64 and u8 can", operation,
                     name, dtype_name(x.dtype()));
  }
}

// Bytes of an all-reduce in which member r sums piece r.
OperationTraffic all_reduce_traffic(int64_t elements, int64_t element_bytes, int size, int rank) {
  const int64_t mine = elements * (rank + 1) / size - elements * rank / size;
  const int64_t bytes = (elements - mine + mine * (size - 1)) * element_bytes;
  return {.calls = 1, .bytes_sent = bytes, .bytes_received = bytes};
}

OperationTraffic exchange_traffic(const CollectiveCall& call, int size) {
  OperationTraffic traffic{.calls = 1, .sent_to = std::vector<int64_t>(static_cast<size_t>(size))};
  for (const Transfer& transfer : call.transfers) {
    if (transfer.direction == Transfer::Direction::kSend) {
      traffic.bytes_sent += transfer.tensor.bytes();
      traffic.sent_to[static_cast<size_t>(transfer.peer)] += transfer.tensor.bytes();
    } else {
      traffic.bytes_received += transfer.tensor.bytes();
    }
  }
  return traffic;
}

OperationTraffic broadcast_traffic(const CollectiveCall& call, int size, int rank) {
  if (size == 1) return {.calls = 1};
  if (rank == call.root) return {.calls = 1, .bytes_sent = call.in.bytes() * (size - 1)};
  return {.calls = 1, .bytes_received = call.in.bytes()};
}

OperationTraffic pieces_traffic(const CollectiveCall& call, int rank) {
  OperationTraffic traffic{.calls = 1};
  const int64_t width = dtype_size(call.in.dtype());
  const auto mine = static_cast<size_t>(rank);
  traffic.bytes_sent = (sum(call.send) - call.send[mine]) * width;
  traffic.bytes_received = (sum(call.receive) - call.receive[mine]) * width;
  if (call.kind == CollectiveKind::kAllToAll) {
    for (const int64_t elements : call.send) traffic.sent_to.push_back(elements * width);
  }
  return traffic;
}

OperationTraffic traffic_of(const CollectiveCall& call, int size, int rank) {
  switch (call.kind) {
    case CollectiveKind::kAllReduce:
      return all_reduce_traffic(call.in.element_count(), dtype_size(call.in.dtype()), size, rank);
    case CollectiveKind::kBroadcast:
      return broadcast_traffic(call, size, rank);
    case CollectiveKind::kExchange:
      return exchange_traffic(call, size);
    case CollectiveKind::kBarrier:
      return {.calls = 1};
    default:
      return pieces_traffic(call, rank);
  }
}

// Elements per row: of the axes after the first, so that it is known without rows too.
int64_t row_width(const Tensor& rows) {
  int64_t width = 1;
  for (int axis = 1; axis < rows.rank(); ++axis) width *= rows.size(axis);
  return width;
}

std::vector<int64_t> scaled(std::vector<int64_t> counts, int64_t factor) {
  for (int64_t& count : counts) count *= factor;
  return counts;
}

}  // namespace

Communicator::Communicator(std::string group, std::vector<int64_t> world_ranks, int rank)
    : group_(std::move(group)), world_ranks_(std::move(world_ranks)), rank_(rank) {
  CONCLAVE_CHECK(0 <= rank && rank < size(), "member {} of a group of {}", rank, size());
}

void Communicator::issue(const Stream& stream, CollectiveCall call) {
  CONCLAVE_CHECK(&call.in.device() == &stream.device() && &call.out.device() == &stream.device(),
                 "[comm/{}] '{}': tensors and stream are of different devices", collective_name(call.kind), call.name);
  CONCLAVE_CHECK(call.in.dtype() == call.out.dtype(), "[comm/{}] '{}': in is {}, out is {}", collective_name(call.kind),
                 call.name, dtype_name(call.in.dtype()), dtype_name(call.out.dtype()));
  traffic_.add({call.kind, call.name}, traffic_of(call, size(), rank()));
  call.sequence = issued_++;
  submit(stream, std::move(call));
}

void Communicator::all_reduce(const Stream& stream, const Tensor& x, ReduceOp op, const char* name) {
  check_reducible(x, "all_reduce", name);
  issue(stream, {.kind = CollectiveKind::kAllReduce, .name = name, .op = op, .in = x, .out = x});
}

void Communicator::reduce_scatter(const Stream& stream, const Tensor& in, const Tensor& out, const char* name) {
  reduce_scatter(stream, in, std::vector<int64_t>(static_cast<size_t>(size()), out.element_count()), out, name);
}

void Communicator::reduce_scatter(const Stream& stream, const Tensor& in, const std::vector<int64_t>& pieces,
                                  const Tensor& out, const char* name) {
  check_reducible(in, "reduce_scatter", name);
  CONCLAVE_CHECK_EQ(static_cast<int>(pieces.size()), size(), "[comm/reduce_scatter] '{}': pieces", name);
  const int64_t mine = pieces[static_cast<size_t>(rank())];
  CONCLAVE_CHECK(in.element_count() == sum(pieces) && out.element_count() == mine,
                 "[comm/reduce_scatter] '{}': {} elements in and {} out; the pieces have {} and {}", name,
                 in.element_count(), out.element_count(), sum(pieces), mine);
  issue(stream, {.kind = CollectiveKind::kReduceScatter,
                 .name = name,
                 .in = in,
                 .out = out,
                 .send = pieces,
                 .receive = std::vector<int64_t>(pieces.size(), mine)});
}

void Communicator::all_gather(const Stream& stream, const Tensor& in, const Tensor& out, const char* name) {
  all_gather(stream, in, std::vector<int64_t>(static_cast<size_t>(size()), in.element_count()), out, name);
}

void Communicator::all_gather(const Stream& stream, const Tensor& in, const std::vector<int64_t>& pieces,
                              const Tensor& out, const char* name) {
  CONCLAVE_CHECK_EQ(static_cast<int>(pieces.size()), size(), "[comm/all_gather] '{}': pieces", name);
  const int64_t mine = pieces[static_cast<size_t>(rank())];
  CONCLAVE_CHECK(in.element_count() == mine && out.element_count() == sum(pieces),
                 "[comm/all_gather] '{}': {} elements in and {} out; the pieces have {} and {}", name,
                 in.element_count(), out.element_count(), mine, sum(pieces));
  issue(stream, {.kind = CollectiveKind::kAllGather,
                 .name = name,
                 .in = in,
                 .out = out,
                 .send = std::vector<int64_t>(pieces.size(), mine),
                 .receive = pieces});
}

void Communicator::all_to_all_rows(const Stream& stream, const Tensor& in, const std::vector<int64_t>& send,
                                   const Tensor& out, const std::vector<int64_t>& receive, const char* name) {
  CONCLAVE_CHECK(static_cast<int>(send.size()) == size() && static_cast<int>(receive.size()) == size(),
                 "[comm/all_to_all_rows] '{}': {} and {} counts in a group of {}", name, send.size(), receive.size(),
                 size());
  CONCLAVE_CHECK(in.rank() >= 1 && out.rank() >= 1 && row_width(in) == row_width(out),
                 "[comm/all_to_all_rows] '{}': rows of {} and {}", name, in.shape().to_string(),
                 out.shape().to_string());
  CONCLAVE_CHECK(in.size(0) == sum(send) && out.size(0) == sum(receive),
                 "[comm/all_to_all_rows] '{}': {} rows in and {} out; the counts have {} and {}", name, in.size(0),
                 out.size(0), sum(send), sum(receive));
  const auto negative = [](int64_t count) { return count < 0; };
  CONCLAVE_CHECK(
      std::none_of(send.begin(), send.end(), negative) && std::none_of(receive.begin(), receive.end(), negative),
      "[comm/all_to_all_rows] '{}': negative counts", name);
  issue(stream, {.kind = CollectiveKind::kAllToAll,
                 .name = name,
                 .in = in,
                 .out = out,
                 .send = scaled(send, row_width(in)),
                 .receive = scaled(receive, row_width(out))});
}

void Communicator::broadcast(const Stream& stream, const Tensor& x, int root, const char* name) {
  CONCLAVE_CHECK(0 <= root && root < size(), "[comm/broadcast] '{}': root {} of a group of {}", name, root, size());
  issue(stream, {.kind = CollectiveKind::kBroadcast, .name = name, .root = root, .in = x, .out = x});
}

void Communicator::exchange(const Stream& stream, std::vector<Transfer> transfers, const char* name) {
  for (const Transfer& transfer : transfers) {
    CONCLAVE_CHECK(0 <= transfer.peer && transfer.peer < size() && transfer.peer != rank(),
                   "[comm/exchange] '{}': member {} of a group of {} with peer {}", name, rank(), size(),
                   transfer.peer);
    CONCLAVE_CHECK(&transfer.tensor.device() == &stream.device(),
                   "[comm/exchange] '{}': tensors and stream are of different devices", name);
  }
  CollectiveCall call{.kind = CollectiveKind::kExchange, .name = name, .transfers = std::move(transfers)};
  for (const Transfer& transfer : call.transfers) {
    call.transfer_sequences.push_back(issued_transfers_[{transfer.peer, transfer.direction}]++);
  }
  traffic_.add({call.kind, call.name}, traffic_of(call, size(), rank()));
  submit(stream, std::move(call));
}

void Communicator::send(const Stream& stream, const Tensor& x, int peer, const char* name) {
  exchange(stream, {{Transfer::Direction::kSend, peer, x}}, name);
}

void Communicator::receive(const Stream& stream, const Tensor& x, int peer, const char* name) {
  exchange(stream, {{Transfer::Direction::kReceive, peer, x}}, name);
}

void Communicator::barrier(const char* name) {
  CollectiveCall call{.kind = CollectiveKind::kBarrier, .name = name};
  traffic_.add({call.kind, call.name}, {.calls = 1});
  call.sequence = issued_++;
  wait_for_all(std::move(call));
}

}  // namespace conclave
