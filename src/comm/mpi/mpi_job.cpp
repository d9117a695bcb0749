#include "comm/mpi/mpi_job.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <new>

#include "comm/mpi/messenger.h"

namespace conclave {
namespace {

constexpr int32_t kNoFailure = -1;
constexpr int kLookMilliseconds = 500;    // between looks at the mark of a failure
constexpr int kMomentMilliseconds = 300;  // from SIGTERM to the end

// A launcher that sees one process die ends the others at once. Who gets its SIGTERM stays a little longer, so that a
// neighbour of the first to die lives to tell. Programs with a handler of their own live on anyway.
std::atomic<int> terminated_event{-1};

void on_terminate(int) {
  const uint64_t one = 1;
  if (write(terminated_event, &one, sizeof one) < 0) _exit(1);
}

void stay_for_a_moment_after_terminate(int event) {
  struct sigaction old {};
  sigaction(SIGTERM, nullptr, &old);
  if (old.sa_handler != SIG_DFL) return;
  terminated_event = event;
  struct sigaction action {};
  action.sa_handler = on_terminate;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
}

[[noreturn]] void end_by_terminate() {
  std::signal(SIGTERM, SIG_DFL);
  kill(getpid(), SIGTERM);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  _exit(1);
}

void write_line(const std::string& text) {
  const std::string line = "conclave: " + text + "\n";
  std::fflush(stdout);
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

// Process numbers mean something only within one of these.
int64_t process_name_space() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? static_cast<int64_t>(status.st_ino) : -1;
}

}  // namespace

MpiJob::MpiJob() {
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  CONCLAVE_USER_CHECK(provided >= MPI_THREAD_SERIALIZED,
                      "[comm/mpi] this MPI lets only one thread call it; use one that is built for threads");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  prctl(PR_SET_TIMERSLACK, 1000UL);  // short sleeps while waiting are short
  take_seat();
  if (machine_size_ > 1) {
    stop_watching_ = eventfd(0, EFD_CLOEXEC);
    terminate_ = eventfd(0, EFD_CLOEXEC);
    stay_for_a_moment_after_terminate(terminate_);
    watcher_ = std::thread([this] { watch(); });
  }
}

MpiJob::~MpiJob() {
  leave();
  if (watcher_.joinable()) {
    const uint64_t one = 1;
    if (write(stop_watching_, &one, sizeof one) == sizeof one) watcher_.join();
    if (terminated_event == terminate_) std::signal(SIGTERM, SIG_DFL);
    close(stop_watching_);
    close(terminate_);
  }
  MPI_Win_free(&window_);
  MPI_Comm_free(&machine_);
  MPI_Finalize();
}

void MpiJob::take_seat() {
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine_),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(machine_, &machine_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(machine_, &machine_size_), "MPI_Comm_size");
  void* base = nullptr;
  const MPI_Aint bytes = machine_rank_ == 0 ? static_cast<MPI_Aint>(sizeof(Seat)) * machine_size_ : 0;
  check_mpi(MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, machine_, &base, &window_), "MPI_Win_allocate_shared");
  MPI_Aint shared_bytes = 0;
  int unit = 0;
  check_mpi(MPI_Win_shared_query(window_, 0, &shared_bytes, &unit, &base), "MPI_Win_shared_query");
  seats_ = static_cast<Seat*>(base);
  Seat* mine = new (&seats_[machine_rank_]) Seat{};
  mine->failure = kNoFailure;
  mine->process_id = getpid();
  mine->name_space = process_name_space();
  mine->rank = rank_;
  check_mpi(MPI_Barrier(machine_), "MPI_Barrier");
  is_first_machine_ = seats_[0].rank == 0;
  compare_machines();
}

void MpiJob::compare_machines() {
  const auto first = static_cast<int>(seats_[0].rank);
  const int in_order = first % machine_size_ == 0 && first + machine_rank_ == rank_ ? 1 : 0;
  const int mine[3] = {machine_size_, -machine_size_, in_order};
  int least[3] = {};
  check_mpi(MPI_Allreduce(mine, least, 3, MPI_INT, MPI_MIN, MPI_COMM_WORLD), "MPI_Allreduce");
  ranks_per_machine_ = least[0] == -least[1] && least[2] == 1 ? machine_size_ : 0;
}

void MpiJob::leave() { seats_[machine_rank_].has_left = 1; }

bool MpiJob::is_first_failure(int exit_code) {
  int32_t none = kNoFailure;
  return seats_[0].failure.compare_exchange_strong(none, exit_code);
}

void MpiJob::watch() {
  const Seat& neighbour = seats_[(machine_rank_ + 1) % machine_size_];
  const bool is_visible = neighbour.name_space == seats_[machine_rank_].name_space && neighbour.name_space >= 0;
  // -1 where it cannot be watched: poll() passes over it.
  const int process =
      is_visible ? static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(neighbour.process_id.load()), 0)) : -1;
  enum { kNeighbour, kStop, kTerminate };
  pollfd watched[3] = {{.fd = process, .events = POLLIN, .revents = 0},
                       {.fd = stop_watching_, .events = POLLIN, .revents = 0},
                       {.fd = terminate_, .events = POLLIN, .revents = 0}};
  const auto is_set = [&](int which) { return (watched[which].revents & POLLIN) != 0; };
  bool is_terminated = false;
  while (seats_[0].failure == kNoFailure && !is_set(kStop)) {
    const int events = poll(watched, 3, is_terminated ? kMomentMilliseconds : kLookMilliseconds);
    if (is_terminated && events == 0) end_by_terminate();
    if (is_set(kNeighbour) && neighbour.has_left == 0) neighbour_is_gone(neighbour.rank);
    if (is_set(kTerminate)) is_terminated = true;
    for (const int which : {kNeighbour, kTerminate}) {
      if (is_set(which)) watched[which] = {.fd = -1, .events = 0, .revents = 0};
    }
  }
  if (process >= 0) close(process);
  if (seats_[0].failure == kNoFailure) return;
  // The launcher ends the others. Where it only asks them to end (SIGTERM) and they would finish a step first, or where
  // it does nothing, they go by themselves.
  std::this_thread::sleep_for(std::chrono::seconds(3));
  _exit(seats_[0].failure);
}

void MpiJob::neighbour_is_gone(int64_t rank) {
  // The launcher knows how that process ended and ends the job with its code.
  if (!is_first_failure(1)) return;
  write_line(with_rank(
      rank, "its process ended without a word: killed (perhaps for want of memory), crashed, or left by itself"));
}

void MpiJob::fail(const Failure& failure) {
  leave();
  if (is_first_failure(failure.exit_code)) {
    // Where the same mistake is found everywhere, the first machine speaks and the job ends before the others do.
    if (!is_first_machine_) std::this_thread::sleep_for(std::chrono::seconds(1));
    write_line(with_rank(rank_, failure.text));
    MPI_Abort(MPI_COMM_WORLD, failure.exit_code);
  }
  std::this_thread::sleep_for(std::chrono::seconds(5));  // the first one ends this process
  _exit(failure.exit_code);
}

}  // namespace conclave
