#include "comm/mpi/messenger.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/clock.h"
#include "comm/failure.h"
#include "comm/wait_failure.h"
#include "device/side_stream.h"

namespace conclave {
namespace {

constexpr int64_t kLargestMessage = int64_t{1} << 30;  // MPI counts in int
constexpr int kHeaderTags = 1 << 22;

// Between two looks: first none, then giving way to others, then sleep, longer and longer. Where each rank has a
// processor to itself, the first part is long: giving way costs a time slice if anybody takes it. Beside a host that
// computes there is no giving way at all: who sleeps is woken in time, who gave way waits for a slice to end.
class Pause {
 public:
  explicit Pause(bool is_crowded)
      : looks_(in_stream_work() || is_crowded ? 20 : 3000), yields_(in_stream_work() ? 0 : 200) {}
  void operator()() {
    ++count_;
    if (count_ <= looks_) return;
    if (count_ <= looks_ + yields_) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(
          std::chrono::microseconds(std::min<int64_t>(20 + (count_ - looks_ - yields_) / 4, 500)));
    }
  }
  bool is_long() const { return count_ > looks_ + yields_; }

 private:
  int64_t count_ = 0, looks_, yields_;
};

}  // namespace

void check_mpi(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(fmt::format("[comm/mpi] {} failed: {}", what, std::string(text, static_cast<size_t>(length))));
}

Messenger::Messenger(const CommSettings& settings, int ranks_on_machine)
    : settings_(settings), is_crowded_(ranks_on_machine > static_cast<int>(std::thread::hardware_concurrency())) {
  int rank = 0, size = 1;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  rank_ = rank;
  size_ = size;
  for (MPI_Comm* comm : {&data_, &control_, &headers_}) {
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, comm), "MPI_Comm_dup");
    check_mpi(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  post_incoming();
}

Messenger::~Messenger() {
  if (incoming_request_ != MPI_REQUEST_NULL) {
    MPI_Cancel(&incoming_request_);
    MPI_Wait(&incoming_request_, MPI_STATUS_IGNORE);
  }
  for (MPI_Comm* comm : {&data_, &control_, &headers_}) MPI_Comm_free(comm);
}

CommSettings Messenger::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void Messenger::configure(const CommSettings& settings) {
  const std::lock_guard lock(mutex_);
  settings_ = settings;
}

void Messenger::post_incoming() {
  check_mpi(MPI_Irecv(&incoming_, sizeof incoming_, MPI_BYTE, MPI_ANY_SOURCE, 0, control_, &incoming_request_),
            "MPI_Irecv");
}

void Messenger::send_control(int64_t peer, const Control& control) {
  Outgoing& out = outgoing_.emplace_back();
  out.control = control;
  check_mpi(MPI_Isend(&out.control, sizeof out.control, MPI_BYTE, static_cast<int>(peer), 0, control_, &out.request),
            "MPI_Isend");
  spoken_to_.insert(peer);
}

// Reads what others announced; lets go of what has left.
void Messenger::progress() {
  for (;;) {
    int here = 0;
    MPI_Status status;
    check_mpi(MPI_Test(&incoming_request_, &here, &status), "MPI_Test");
    if (here == 0) break;
    const Control control = incoming_;
    post_incoming();
    spoken_to_.insert(status.MPI_SOURCE);
    if (control.kind == Control::kLeft) {
      left_.insert(status.MPI_SOURCE);
    } else {
      channels_[{status.MPI_SOURCE, control.group_key}] = static_cast<int>(control.channel);
    }
  }
  outgoing_.remove_if([](Outgoing& out) {
    int done = 0;
    check_mpi(MPI_Test(&out.request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    return done != 0;
  });
}

void Messenger::give_up_if_vain(const std::function<std::vector<int64_t>()>& missing,
                                const std::function<std::string()>& what, double waited, double limit) {
  if (stream_work_cancelled()) throw PeerFailed("the stream was given up");
  std::vector<int64_t> gone, ranks;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    progress();
    if (left_.empty() && (limit <= 0 || waited < limit)) return;
    ranks = missing();
    std::copy_if(ranks.begin(), ranks.end(), std::back_inserter(gone), [&](int64_t r) { return left_.contains(r); });
  }
  if (ranks.empty()) return;
  if (!gone.empty()) throw_left(what(), gone);
  if (limit > 0 && waited >= limit) throw_timeout(what(), settings().timeout_seconds, ranks);
}

void Messenger::poll_until(const std::function<bool()>& done, const std::function<std::vector<int64_t>()>& missing,
                           const std::function<std::string()>& what, double grace_seconds) {
  const double timeout = settings().timeout_seconds;
  const double limit = timeout > 0 ? timeout + grace_seconds : 0;
  const Stopwatch watch;
  Pause pause(is_crowded_);
  double next_look = 0.02;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (done()) return;
    }
    pause();
    if (!pause.is_long()) continue;
    const double waited = watch.seconds();
    if (waited < next_look) continue;
    next_look = waited + 0.02;
    give_up_if_vain(missing, what, waited, limit);
  }
}

int Messenger::channel(int64_t peer, uint64_t group_key, const std::function<std::string()>& what) {
  const ChannelKey key{peer, group_key};
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = channels_.find(key); known != channels_.end()) return known->second;
    if (rank_ < peer) {
      const int number = next_channel_[peer]++;
      CONCLAVE_CHECK(number < 256, "ranks {} and {} are in more than 256 groups together", rank_, peer);
      channels_[key] = number;
      send_control(peer, {.kind = Control::kChannel, .group_key = group_key, .channel = number});
      return number;
    }
  }
  poll_until(
      [&] {
        progress();
        return channels_.contains(key);
      },
      [&] { return channels_.contains(key) ? std::vector<int64_t>() : std::vector<int64_t>{peer}; }, what, 0);
  const std::lock_guard lock(mutex_);
  return channels_.at(key);
}

void Messenger::post_send(Batch& batch, int64_t peer, int tag, const void* data, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto* begin = static_cast<const std::byte*>(data);
  do {
    const int64_t part = std::min(bytes, kLargestMessage);
    batch.expected_.push_back({.peer = peer});
    batch.requests_.push_back(MPI_REQUEST_NULL);
    check_mpi(
        MPI_Isend(begin, static_cast<int>(part), MPI_BYTE, static_cast<int>(peer), tag, data_, &batch.requests_.back()),
        "MPI_Isend");
    begin += part;
    bytes -= part;
  } while (bytes > 0);
}

void Messenger::post_receive(Batch& batch, int64_t peer, int tag, void* data, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  auto* begin = static_cast<std::byte*>(data);
  do {
    const int64_t part = std::min(bytes, kLargestMessage);
    batch.expected_.push_back({.peer = peer, .bytes = part});
    batch.requests_.push_back(MPI_REQUEST_NULL);
    check_mpi(
        MPI_Irecv(begin, static_cast<int>(part), MPI_BYTE, static_cast<int>(peer), tag, data_, &batch.requests_.back()),
        "MPI_Irecv");
    begin += part;
    bytes -= part;
  } while (bytes > 0);
}

bool Messenger::test(Batch& batch) {
  batch.statuses_.resize(batch.requests_.size());
  int done = 0;
  const int code =
      MPI_Testall(static_cast<int>(batch.requests_.size()), batch.requests_.data(), &done, batch.statuses_.data());
  if (code == MPI_ERR_IN_STATUS) {
    // A message that is too long is reported with those that fit, when its length is looked at.
    for (const MPI_Status& status : batch.statuses_) {
      int kind = MPI_SUCCESS;
      MPI_Error_class(status.MPI_ERROR, &kind);
      if (kind == MPI_ERR_TRUNCATE) batch.truncated_ = true;
    }
  }
  if (batch.truncated_) return true;
  check_mpi(code, "MPI_Testall");
  return done != 0;
}

void Messenger::check_received(const Batch& batch, const std::function<std::string()>& what) const {
  for (size_t i = 0; i < batch.expected_.size(); ++i) {
    if (batch.expected_[i].bytes < 0) continue;
    int bytes = 0;
    int kind = MPI_SUCCESS;
    if (batch.truncated_) MPI_Error_class(batch.statuses_[i].MPI_ERROR, &kind);
    check_mpi(MPI_Get_count(&batch.statuses_[i], MPI_BYTE, &bytes), "MPI_Get_count");
    const bool fits = batch.truncated_ ? kind != MPI_ERR_TRUNCATE : bytes == batch.expected_[i].bytes;
    if (fits) continue;
    throw CollectiveMismatch(
        fmt::format("[comm] {}: rank {} sent {} bytes, rank {} expected {}; --check-collectives tells what each called",
                    what(), batch.expected_[i].peer, kind == MPI_ERR_TRUNCATE ? "more" : std::to_string(bytes), rank_,
                    batch.expected_[i].bytes));
  }
}

// Whose messages are not here; where all are, whose took none of ours.
std::vector<int64_t> Messenger::missing(Batch& batch) {
  std::set<int64_t> senders, receivers;
  for (size_t i = 0; i < batch.requests_.size(); ++i) {
    int done = 0;
    MPI_Request_get_status(batch.requests_[i], &done, MPI_STATUS_IGNORE);
    if (done == 0) (batch.expected_[i].bytes >= 0 ? senders : receivers).insert(batch.expected_[i].peer);
  }
  const std::set<int64_t>& ranks = senders.empty() ? receivers : senders;
  return {ranks.begin(), ranks.end()};
}

// The job is about to end; what still arrives must not land in memory that is given back.
void Messenger::abandon(Batch& batch) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < batch.requests_.size(); ++i) {
    if (batch.requests_[i] == MPI_REQUEST_NULL) continue;
    if (batch.expected_[i].bytes >= 0) MPI_Cancel(&batch.requests_[i]);
    MPI_Request_free(&batch.requests_[i]);
  }
}

void Messenger::wait(Batch& batch, const std::function<std::string()>& what, double grace_seconds) {
  if (batch.empty()) return;
  try {
    poll_until([&] { return test(batch); }, [&] { return missing(batch); }, what, grace_seconds);
    check_received(batch, what);
  } catch (...) {
    abandon(batch);
    throw;
  }
  batch = Batch();
}

void Messenger::wait_each(std::vector<Batch>& batches, const std::function<void(size_t)>& arrived,
                          const std::function<std::string()>& what) {
  std::vector<bool> done(batches.size());
  const auto look = [&] {
    for (size_t i = 0; i < batches.size(); ++i) {
      if (done[i] || !(batches[i].empty() || test(batches[i]))) continue;
      done[i] = true;
      check_received(batches[i], what);
      arrived(i);
    }
    return std::find(done.begin(), done.end(), false) == done.end();
  };
  const auto missing_of_all = [&] {
    std::vector<int64_t> ranks;
    for (size_t i = 0; i < batches.size(); ++i) {
      if (done[i]) continue;
      const std::vector<int64_t> more = missing(batches[i]);
      ranks.insert(ranks.end(), more.begin(), more.end());
    }
    return ranks;
  };
  try {
    poll_until(look, missing_of_all, what, 0);
  } catch (...) {
    for (Batch& batch : batches) abandon(batch);
    throw;
  }
  batches.clear();
}

void Messenger::note_failure(const std::exception_ptr& failure) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = failure;
}

int64_t Messenger::send_header(int64_t peer, const CallHeader& header) {
  const std::lock_guard lock(mutex_);
  const int64_t number = header_counts_[peer]++;
  Outgoing& out = outgoing_.emplace_back();
  out.header = header;
  check_mpi(MPI_Isend(&out.header, sizeof out.header, MPI_BYTE, static_cast<int>(peer),
                      static_cast<int>(number % kHeaderTags), headers_, &out.request),
            "MPI_Isend");
  return number;
}

void Messenger::receive_header(Batch& batch, int64_t peer, int64_t number, CallHeader& header) {
  const std::lock_guard lock(mutex_);
  batch.expected_.push_back({.peer = peer, .bytes = sizeof header});
  batch.requests_.push_back(MPI_REQUEST_NULL);
  check_mpi(MPI_Irecv(&header, sizeof header, MPI_BYTE, static_cast<int>(peer), static_cast<int>(number % kHeaderTags),
                      headers_, &batch.requests_.back()),
            "MPI_Irecv");
}

void Messenger::leave() {
  MPI_Request all_here = MPI_REQUEST_NULL;
  {
    const std::lock_guard lock(mutex_);
    const std::set<int64_t> peers = spoken_to_;
    for (const int64_t peer : peers) send_control(peer, {.kind = Control::kLeft});
    check_mpi(MPI_Ibarrier(control_, &all_here), "MPI_Ibarrier");
  }
  // Without a limit: others may have much to do still, and one that fails ends the job.
  const Stopwatch watch;
  for (Pause pause(is_crowded_);; pause()) {
    const std::lock_guard lock(mutex_);
    progress();
    int done = 0;
    check_mpi(MPI_Test(&all_here, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0 && outgoing_.empty()) return;
  }
}

}  // namespace conclave
