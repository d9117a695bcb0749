#include "comm/threads/thread_group.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "comm/failure.h"
#include "comm/threads/job_board.h"
#include "comm/wait_failure.h"
#include "device/side_stream.h"
#include "kernels/ordered_reduce.h"

namespace conclave {
namespace {

using Calls = std::vector<const CollectiveCall*>;

void copy_elements(const Tensor& from, int64_t from_begin, const Tensor& to, int64_t to_begin, int64_t count) {
  const int64_t width = dtype_size(from.dtype());
  const std::byte* source = from.raw() + from_begin * width;
  std::byte* destination = to.raw() + to_begin * width;
  if (count > 0 && source != destination) std::memcpy(destination, source, static_cast<size_t>(count * width));
}

int64_t sum_before(const std::vector<int64_t>& counts, int member) {
  int64_t sum = 0;
  for (int i = 0; i < member; ++i) sum += counts[static_cast<size_t>(i)];
  return sum;
}

// Member `rank` sums one piece of everybody's tensor and writes it to all.
void share_of_all_reduce(int rank, const Calls& calls) {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  const auto size = static_cast<int64_t>(calls.size());
  const int64_t count = mine.in.element_count();
  const int64_t begin = count * rank / size, end = count * (rank + 1) / size;
  if (begin == end) return;
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;
  for (const CollectiveCall* call : calls) {
    inputs.push_back(call->in.raw() + begin * dtype_size(mine.in.dtype()));
    outputs.push_back(call->out.raw() + begin * dtype_size(mine.in.dtype()));
  }
  kernels::ordered_reduce({.inputs = inputs,
                           .outputs = outputs,
                           .count = end - begin,
                           .dtype = mine.in.dtype(),
                           .rule = static_cast<kernels::ReduceRule>(mine.op)});
}

void share_of_reduce_scatter(int rank, const Calls& calls) {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  const int64_t count = mine.out.element_count();
  if (count == 0) return;
  const int64_t begin = sum_before(mine.send, rank) * dtype_size(mine.in.dtype());
  std::vector<const std::byte*> inputs;
  for (const CollectiveCall* call : calls) inputs.push_back(call->in.raw() + begin);
  std::byte* const output = mine.out.raw();
  kernels::ordered_reduce({.inputs = inputs, .outputs = {&output, 1}, .count = count, .dtype = mine.in.dtype()});
}

void share_of_all_gather(int rank, const Calls& calls) {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  int64_t begin = 0;
  for (size_t member = 0; member < calls.size(); ++member) {
    copy_elements(calls[member]->in, 0, mine.out, begin, mine.receive[member]);
    begin += mine.receive[member];
  }
}

void share_of_all_to_all(int rank, const Calls& calls) {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  int64_t begin = 0;
  for (size_t member = 0; member < calls.size(); ++member) {
    copy_elements(calls[member]->in, sum_before(calls[member]->send, rank), mine.out, begin, mine.receive[member]);
    begin += mine.receive[member];
  }
}

void share_of_broadcast(int rank, const Calls& calls) {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  copy_elements(calls[static_cast<size_t>(mine.root)]->in, 0, mine.out, 0, mine.out.element_count());
}

}  // namespace

ThreadGroup::ThreadGroup(JobBoard& board, std::string name, std::vector<int64_t> world_ranks)
    : board_(board), name_(std::move(name)), world_ranks_(std::move(world_ranks)) {}

void ThreadGroup::note(int rank, const CollectiveCall& call) {
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank) continue;
    board_.note_call(world_ranks_[static_cast<size_t>(rank)], world_ranks_[static_cast<size_t>(peer)],
                     header_for(call, name_, peer));
  }
}

void ThreadGroup::wait(Lock& lock, const std::string& what, const std::function<bool()>& ready,
                       const std::function<std::vector<int>()>& missing) {
  const auto start = std::chrono::steady_clock::now();
  const double limit = board_.settings().timeout_seconds;
  const auto ranks = [&] {
    std::vector<int64_t> out;
    for (const int member : missing()) out.push_back(world_ranks_[static_cast<size_t>(member)]);
    return out;
  };
  // In slices: a failure elsewhere or the end of the stream is not announced here.
  while (!changed_.wait_for(lock, std::chrono::milliseconds(20), ready)) {
    board_.check();
    if (stream_work_cancelled()) throw PeerFailed("the stream was given up");
    std::vector<int64_t> gone = ranks();
    std::erase_if(gone, [&](int64_t rank) { return !board_.has_left(rank); });
    if (!gone.empty()) throw_left(what, gone);
    if (limit > 0 && std::chrono::steady_clock::now() - start > std::chrono::duration<double>(limit)) {
      throw_timeout(what, limit, ranks());
    }
  }
}

void ThreadGroup::check_agreement(int rank, const Calls& calls) const {
  const CollectiveCall& mine = *calls[static_cast<size_t>(rank)];
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank) continue;
    const CallHeader ours = header_for(mine, name_, peer);
    const CallHeader theirs = header_for(*calls[static_cast<size_t>(peer)], name_, rank);
    if (!agree(ours, theirs, board_.settings().check_collectives)) {
      throw CollectiveMismatch(mismatch_text(world_ranks_[static_cast<size_t>(rank)], ours,
                                             world_ranks_[static_cast<size_t>(peer)], theirs));
    }
  }
}

void ThreadGroup::move_share(int rank, const Calls& calls) const {
  switch (calls[static_cast<size_t>(rank)]->kind) {
    case CollectiveKind::kAllReduce:
      return share_of_all_reduce(rank, calls);
    case CollectiveKind::kReduceScatter:
      return share_of_reduce_scatter(rank, calls);
    case CollectiveKind::kAllGather:
      return share_of_all_gather(rank, calls);
    case CollectiveKind::kAllToAll:
      return share_of_all_to_all(rank, calls);
    case CollectiveKind::kBroadcast:
      return share_of_broadcast(rank, calls);
    case CollectiveKind::kBarrier:
    case CollectiveKind::kExchange:
      return;
  }
}

void ThreadGroup::meet(int rank, const CollectiveCall& call) {
  Lock lock(mutex_);
  auto& place = meetings_[call.sequence];
  if (place == nullptr) {
    place = std::make_shared<Meeting>();
    place->calls.resize(static_cast<size_t>(size()));
    place->came.resize(static_cast<size_t>(size()));
  }
  const std::shared_ptr<Meeting> meeting = place;
  meeting->calls[static_cast<size_t>(rank)] = &call;
  meeting->came[static_cast<size_t>(rank)] = true;
  if (++meeting->arrived == size()) changed_.notify_all();
  try {
    wait(
        lock, describe(header_for(call, name_, rank)), [&] { return meeting->arrived == size(); },
        [&] {
          std::vector<int> missing;
          for (int member = 0; member < size(); ++member)
            if (!meeting->came[static_cast<size_t>(member)]) missing.push_back(member);
          return missing;
        });
  } catch (...) {
    meeting->calls[static_cast<size_t>(rank)] = nullptr;  // not all were here, so nobody looked
    --meeting->arrived;
    throw;
  }
  lock.unlock();
  std::exception_ptr failure;
  try {
    check_agreement(rank, meeting->calls);
    move_share(rank, meeting->calls);
  } catch (...) {
    failure = std::current_exception();
  }
  // Nobody goes while another may read its tensors; all are at work now, so this wait ends.
  lock.lock();
  if (++meeting->left == size()) {
    meetings_.erase(call.sequence);
    changed_.notify_all();
  } else {
    changed_.wait(lock, [&] { return meeting->left == size(); });
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

void ThreadGroup::take(Lock& lock, int rank, const CollectiveCall& call, size_t index) {
  const Transfer& transfer = call.transfers[index];
  const PostKey key{transfer.peer, rank, call.transfer_sequences[index]};
  const auto post = [&] { return posts_.find(key); };
  wait(
      lock,
      fmt::format("the receive of {} bytes in exchange '{}' of group {}", transfer.tensor.bytes(), call.name, name_),
      [&] { return post() != posts_.end(); }, [&] { return std::vector<int>{transfer.peer}; });
  Post& theirs = post()->second;
  const int64_t from = world_ranks_[static_cast<size_t>(transfer.peer)];
  if (theirs.tensor->bytes() != transfer.tensor.bytes() || theirs.tensor->dtype() != transfer.tensor.dtype()) {
    throw CollectiveMismatch(fmt::format(
        "[comm] message {} from rank {} to rank {} in group {}: sent {} {}, received as {} {} by exchange '{}'",
        call.transfer_sequences[index], from, world_ranks_[static_cast<size_t>(rank)], name_,
        theirs.tensor->element_count(), dtype_name(theirs.tensor->dtype()), transfer.tensor.element_count(),
        dtype_name(transfer.tensor.dtype()), call.name));
  }
  theirs.state = PostState::kBeingRead;
  lock.unlock();
  copy_elements(*theirs.tensor, 0, transfer.tensor, 0, transfer.tensor.element_count());
  lock.lock();
  theirs.state = PostState::kRead;
  changed_.notify_all();
}

// Takes back what was sent and not read; waits where it is being read.
void ThreadGroup::withdraw(Lock& lock, int rank, const CollectiveCall& call) {
  for (size_t i = 0; i < call.transfers.size(); ++i) {
    const auto post = posts_.find({rank, call.transfers[i].peer, call.transfer_sequences[i]});
    if (call.transfers[i].direction != Transfer::Direction::kSend || post == posts_.end()) continue;
    changed_.wait(lock, [&] { return post->second.state != PostState::kBeingRead; });
    posts_.erase(post);
  }
}

void ThreadGroup::exchange(int rank, const CollectiveCall& call) {
  Lock lock(mutex_);
  for (size_t i = 0; i < call.transfers.size(); ++i) {
    const Transfer& transfer = call.transfers[i];
    if (transfer.direction != Transfer::Direction::kSend) continue;
    posts_[{rank, transfer.peer, call.transfer_sequences[i]}] = Post{.tensor = &transfer.tensor};
  }
  changed_.notify_all();
  try {
    for (size_t i = 0; i < call.transfers.size(); ++i) {
      if (call.transfers[i].direction == Transfer::Direction::kReceive) take(lock, rank, call, i);
    }
    for (size_t i = 0; i < call.transfers.size(); ++i) {
      const Transfer& transfer = call.transfers[i];
      if (transfer.direction != Transfer::Direction::kSend) continue;
      const Post& post = posts_.at({rank, transfer.peer, call.transfer_sequences[i]});
      wait(
          lock,
          fmt::format("the send of {} bytes in exchange '{}' of group {}", transfer.tensor.bytes(), call.name, name_),
          [&] { return post.state == PostState::kRead; }, [&] { return std::vector<int>{transfer.peer}; });
    }
  } catch (...) {
    withdraw(lock, rank, call);
    throw;
  }
  withdraw(lock, rank, call);
}

}  // namespace conclave
