#include "comm/mpi/mpi_communicator.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "comm/failure.h"
#include "comm/mpi/reduction.h"
#include "kernels/ordered_reduce.h"

namespace conclave {
namespace {

enum Phase { kFirst, kSecond, kTransfer = 7 };

// 23 bits, the fewest that an MPI library in use offers for a tag.
constexpr int kPhases = 8, kSequences = 4096;

// Who hears of a missing member only through others lets those report it first.
constexpr double kGraceSeconds = 2;

void copy_elements(const Tensor& from, int64_t from_begin, const Tensor& to, int64_t to_begin, int64_t count) {
  const int64_t width = dtype_size(from.dtype());
  const std::byte* source = from.raw() + from_begin * width;
  std::byte* destination = to.raw() + to_begin * width;
  if (count > 0 && source != destination) std::memcpy(destination, source, static_cast<size_t>(count * width));
}

}  // namespace

MpiCommunicator::MpiCommunicator(Messenger& messenger, const std::string& name, const std::vector<int64_t>& ranks,
                                 int position)
    : Communicator(name, ranks, position), messenger_(messenger), channels_(ranks.size()) {
  for (std::atomic<int>& channel : channels_) channel = -1;
  std::string text = name;
  for (const int64_t rank : ranks) text += fmt::format(" {}", rank);
  key_ = hash64(text);
}

std::function<std::string()> MpiCommunicator::what(const CollectiveCall& call) const {
  if (call.kind == CollectiveKind::kExchange) {
    return [&call, this] { return fmt::format("exchange '{}' of group {}", call.name, group()); };
  }
  return [&call, this] { return describe(header_for(call, group(), rank())); };
}

int MpiCommunicator::tag(int peer, int64_t sequence, int phase, const std::function<std::string()>& what) {
  int channel = channels_[static_cast<size_t>(peer)];
  if (channel < 0) {
    channel = messenger_.channel(world_rank(peer), key_, what);
    channels_[static_cast<size_t>(peer)] = channel;
  }
  return (channel * kSequences + static_cast<int>(sequence % kSequences)) * kPhases + phase;
}

void MpiCommunicator::send_to(Batch& batch, int peer, const CollectiveCall& call, int phase, const Tensor& from,
                              int64_t begin, int64_t count) {
  if (count == 0) return;
  const int64_t width = dtype_size(from.dtype());
  messenger_.post_send(batch, world_rank(peer), tag(peer, call.sequence, phase, what(call)), from.raw() + begin * width,
                       count * width);
}

void MpiCommunicator::receive_from(Batch& batch, int peer, const CollectiveCall& call, int phase, const Tensor& to,
                                   int64_t begin, int64_t count) {
  if (count == 0) return;
  const int64_t width = dtype_size(to.dtype());
  messenger_.post_receive(batch, world_rank(peer), tag(peer, call.sequence, phase, what(call)),
                          to.raw() + begin * width, count * width);
}

std::shared_ptr<MpiCommunicator::Numbered> MpiCommunicator::begin(CollectiveCall call) {
  auto numbered = std::make_shared<Numbered>();
  numbered->call = std::move(call);
  if (!messenger_.settings().check_collectives || numbered->call.kind == CollectiveKind::kExchange) return numbered;
  for (int peer = 0; peer < size(); ++peer) {
    numbered->headers.push_back(header_for(numbered->call, group(), peer));
    numbered->header_numbers.push_back(
        peer == rank() ? 0 : messenger_.send_header(world_rank(peer), numbered->headers.back()));
  }
  return numbered;
}

void MpiCommunicator::submit(const Stream& stream, CollectiveCall call) {
  CONCLAVE_CHECK(stream.device().kind() == DeviceKind::kCpu, "[comm/mpi] '{}' on the device {}", call.name,
                 stream.device().name());
  stream.device().run_on(stream, [this, numbered = begin(std::move(call))] {
    try {
      carry_out(*numbered);
    } catch (...) {
      messenger_.note_failure(std::current_exception());
      throw;
    }
  });
}

void MpiCommunicator::wait_for_all(CollectiveCall call) { carry_out(*begin(std::move(call))); }

void MpiCommunicator::check_headers(Numbered& numbered) {
  if (numbered.headers.empty()) return;
  std::vector<CallHeader> theirs(numbered.headers.size());
  std::vector<Batch> batches(theirs.size());
  for (int peer = 0; peer < size(); ++peer) {
    const auto index = static_cast<size_t>(peer);
    if (peer == rank()) continue;
    messenger_.receive_header(batches[index], world_rank(peer), numbered.header_numbers[index], theirs[index]);
  }
  // One by one: who called something else may keep the rest from ever coming.
  const auto compare = [&](size_t index) {
    const int peer = static_cast<int>(index);
    if (peer == rank() || agree(numbered.headers[index], theirs[index], true)) return;
    throw CollectiveMismatch(
        mismatch_text(world_rank(rank()), numbered.headers[index], world_rank(peer), theirs[index]));
  };
  messenger_.wait_each(batches, compare, what(numbered.call));
}

void MpiCommunicator::carry_out(Numbered& numbered) {
  const CollectiveCall& call = numbered.call;
  check_headers(numbered);
  switch (call.kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kReduceScatter: {
      if (call.kind == CollectiveKind::kAllReduce && Reduction::is_short(call, size())) return all_reduce_short(call);
      Reduction reduction(call, rank(), size());
      return reduce(reduction);
    }
    case CollectiveKind::kAllGather:
      return all_gather_pieces(call);
    case CollectiveKind::kAllToAll:
      return all_to_all(call);
    case CollectiveKind::kBroadcast:
      return broadcast_tree(call);
    case CollectiveKind::kExchange:
      return exchange_all(call);
    case CollectiveKind::kBarrier:
      return meet(call);
  }
}

// Everybody gets everything and sums by itself, in the same order: one trip instead of two.
void MpiCommunicator::all_reduce_short(const CollectiveCall& call) {
  const int64_t bytes = call.in.bytes();
  std::vector<std::byte> staging(static_cast<size_t>(bytes * size()));
  std::vector<const std::byte*> inputs;
  Batch batch;
  for (int peer = 0; peer < size(); ++peer) {
    std::byte* const place = staging.data() + peer * bytes;
    inputs.push_back(peer == rank() ? call.in.raw() : place);
    if (peer == rank() || bytes == 0) continue;
    messenger_.post_receive(batch, world_rank(peer), tag(peer, call.sequence, kFirst, what(call)), place, bytes);
    send_to(batch, peer, call, kFirst, call.in, 0, call.in.element_count());
  }
  messenger_.wait(batch, what(call));
  std::byte* const output = call.out.raw();
  kernels::ordered_reduce({.inputs = inputs,
                           .outputs = {&output, 1},
                           .count = call.in.element_count(),
                           .dtype = call.in.dtype(),
                           .rule = static_cast<kernels::ReduceRule>(call.op)});
}

void MpiCommunicator::reduce(Reduction& reduction) {
  const CollectiveCall& call = reduction.call();
  const int64_t chunks = reduction.chunk_count();
  std::vector<Batch> gathers(static_cast<size_t>(chunks)), spreads(static_cast<size_t>(chunks));
  const auto post_gather = [&](int64_t chunk) {
    if (chunk >= chunks) return;
    Batch& batch = gathers[static_cast<size_t>(chunk)];
    const auto [mine, length] = reduction.range(rank(), chunk);
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      if (length > 0) {
        messenger_.post_receive(batch, world_rank(peer), tag(peer, call.sequence, kFirst, what(call)),
                                reduction.staging(chunk, peer), length * dtype_size(call.in.dtype()));
      }
      const auto [theirs, their_length] = reduction.range(peer, chunk);
      send_to(batch, peer, call, kFirst, call.in, theirs, their_length);
    }
  };
  const auto post_spread = [&](int64_t chunk) {
    Batch& batch = spreads[static_cast<size_t>(chunk)];
    const auto [mine, length] = reduction.range(rank(), chunk);
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      send_to(batch, peer, call, kSecond, call.out, mine, length);
      const auto [theirs, their_length] = reduction.range(peer, chunk);
      receive_from(batch, peer, call, kSecond, call.out, theirs, their_length);
    }
  };
  const bool spreads_sums = call.kind == CollectiveKind::kAllReduce;
  for (int64_t ahead = 0; ahead < Reduction::kAhead; ++ahead) post_gather(ahead);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    messenger_.wait(gathers[static_cast<size_t>(chunk)], what(call));
    reduction.sum(chunk);
    if (spreads_sums) post_spread(chunk);
    post_gather(chunk + Reduction::kAhead);
    // A member that never came is first known to who waits for its piece.
    if (chunk >= 2) messenger_.wait(spreads[static_cast<size_t>(chunk - 2)], what(call), kGraceSeconds);
  }
  for (Batch& batch : spreads) messenger_.wait(batch, what(call), kGraceSeconds);
}

void MpiCommunicator::all_gather_pieces(const CollectiveCall& call) {
  Batch batch;
  int64_t begin = 0;
  for (int peer = 0; peer < size(); ++peer) {
    const int64_t count = call.receive[static_cast<size_t>(peer)];
    if (peer == rank()) {
      copy_elements(call.in, 0, call.out, begin, count);
    } else {
      receive_from(batch, peer, call, kFirst, call.out, begin, count);
    }
    begin += count;
  }
  for (int step = 1; step < size(); ++step) {
    send_to(batch, (rank() + step) % size(), call, kFirst, call.in, 0, call.in.element_count());
  }
  messenger_.wait(batch, what(call));
}

void MpiCommunicator::all_to_all(const CollectiveCall& call) {
  Batch batch;
  int64_t begin = 0, mine = 0;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) {
      mine = begin;
    } else {
      receive_from(batch, peer, call, kFirst, call.out, begin, call.receive[static_cast<size_t>(peer)]);
    }
    begin += call.receive[static_cast<size_t>(peer)];
  }
  begin = 0;
  for (int peer = 0; peer < size(); ++peer) {
    const int64_t count = call.send[static_cast<size_t>(peer)];
    if (peer != rank()) send_to(batch, peer, call, kFirst, call.in, begin, count);
    if (peer == rank()) copy_elements(call.in, begin, call.out, mine, count);
    begin += count;
  }
  messenger_.wait(batch, what(call));
}

// A binomial tree: places counted from the root; place p gets from p without its lowest bit.
void MpiCommunicator::broadcast_tree(const CollectiveCall& call) {
  const int place = (rank() - call.root + size()) % size();
  const int64_t count = call.in.element_count();
  const auto member = [&](int at) { return (at + call.root) % size(); };
  int lowest = 1;
  while (lowest < size() && (place & lowest) == 0) lowest *= 2;
  Batch batch;
  if (place != 0) {
    receive_from(batch, member(place - lowest), call, kFirst, call.in, 0, count);
    messenger_.wait(batch, what(call));
  }
  for (int step = lowest / 2; step > 0; step /= 2) {
    if (place + step < size()) send_to(batch, member(place + step), call, kFirst, call.in, 0, count);
  }
  messenger_.wait(batch, what(call), kGraceSeconds);
}

void MpiCommunicator::exchange_all(const CollectiveCall& call) {
  Batch batch;
  for (const auto direction : {Transfer::Direction::kReceive, Transfer::Direction::kSend}) {
    for (size_t i = 0; i < call.transfers.size(); ++i) {
      const Transfer& transfer = call.transfers[i];
      if (transfer.direction != direction) continue;
      const int to = tag(transfer.peer, call.transfer_sequences[i], kTransfer, what(call));
      if (direction == Transfer::Direction::kReceive) {
        messenger_.post_receive(batch, world_rank(transfer.peer), to, transfer.tensor.raw(), transfer.tensor.bytes());
      } else {
        messenger_.post_send(batch, world_rank(transfer.peer), to, transfer.tensor.raw(), transfer.tensor.bytes());
      }
    }
  }
  messenger_.wait(batch, what(call));
}

// Everybody tells everybody, so that each knows who is missing.
void MpiCommunicator::meet(const CollectiveCall& call) {
  Batch batch;
  for (int step = 1; step < size(); ++step) {
    const int to = (rank() + step) % size(), from = (rank() - step + size()) % size();
    messenger_.post_receive(batch, world_rank(from), tag(from, call.sequence, kFirst, what(call)), nullptr, 0);
    messenger_.post_send(batch, world_rank(to), tag(to, call.sequence, kFirst, what(call)), nullptr, 0);
  }
  messenger_.wait(batch, what(call));
}

}  // namespace conclave
