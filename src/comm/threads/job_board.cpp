#include "comm/threads/job_board.h"

#include "comm/failure.h"
#include "comm/threads/thread_group.h"

namespace conclave {

JobBoard::JobBoard(int64_t ranks, const CommSettings& settings)
    : settings_(settings), left_(static_cast<size_t>(ranks)) {}

JobBoard::~JobBoard() = default;

std::shared_ptr<ThreadGroup> JobBoard::group(const std::string& name, const std::vector<int64_t>& ranks) {
  const std::lock_guard lock(mutex_);
  auto& group = groups_[{name, ranks}];
  if (group == nullptr) group = std::make_shared<ThreadGroup>(*this, name, ranks);
  return group;
}

void JobBoard::fail(int64_t rank, std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  failed_rank_ = rank;
  failure_ = std::move(failure);
  failed_ = true;
}

void JobBoard::leave(int64_t rank) { left_[static_cast<size_t>(rank)] = true; }

void JobBoard::check() const {
  if (!failed_) return;
  const std::lock_guard lock(mutex_);
  throw PeerFailed(fmt::format("rank {} failed", failed_rank_));
}

void JobBoard::rethrow() const {
  const std::lock_guard lock(mutex_);
  if (failed_) rethrow_with_rank(failed_rank_, failure_);
}

void JobBoard::note_call(int64_t rank, int64_t peer, const CallHeader& header) {
  const std::lock_guard lock(mutex_);
  const int64_t place = calls_[{rank, peer}]++;
  const auto theirs = one_sided_.find({peer, rank, place});
  if (theirs == one_sided_.end()) {
    one_sided_[{rank, peer, place}] = header;
    return;
  }
  const CallHeader other = theirs->second;
  one_sided_.erase(theirs);
  if (!agree(header, other, true)) throw CollectiveMismatch(mismatch_text(rank, header, peer, other));
}

}  // namespace conclave
