// The job that a launcher started: MPI itself, and how all its processes end when one fails.
//
// MPI_Abort ends a job, but says nothing of the cause, and a process that is killed says nothing at all. So the
// processes of one machine share a page in which the first failure is marked: only its finder writes the cause. Each
// process watches one neighbour on its machine, and writes when that one is gone without a word.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "comm/failure.h"

namespace conclave {

class MpiJob {
 public:
  /// Initialises MPI.
  MpiJob();
  /// Finalises MPI; leave() was called.
  ~MpiJob();
  MpiJob(const MpiJob&) = delete;
  MpiJob& operator=(const MpiJob&) = delete;

  int ranks_on_machine() const { return machine_size_; }
  int rank_on_machine() const { return machine_rank_; }
  /// The same number where all machines have as many, each a run of neighbouring ranks; else 0.
  int ranks_per_machine() const { return ranks_per_machine_; }
  /// From now on this process may end.
  void leave();
  /// Writes "conclave: rank 3: text" to standard error, if nobody failed before, and ends the job with this exit code.
  [[noreturn]] void fail(const Failure& failure);

 private:
  struct Seat {
    std::atomic<int64_t> process_id, name_space, rank;
    std::atomic<int32_t> has_left;
    std::atomic<int32_t> failure;  ///< of the first seat only: exit code of the first failure on the machine, or -1
  };

  int rank_ = 0;
  int machine_rank_ = 0, machine_size_ = 1, ranks_per_machine_ = 0;
  bool is_first_machine_ = true;
  MPI_Comm machine_ = MPI_COMM_NULL;
  MPI_Win window_ = MPI_WIN_NULL;
  Seat* seats_ = nullptr;
  int stop_watching_ = -1, terminate_ = -1;  ///< eventfds: the work is over; SIGTERM came
  std::thread watcher_;

  void take_seat();
  void compare_machines();
  void watch();
  void neighbour_is_gone(int64_t rank);
  bool is_first_failure(int exit_code);
};

}  // namespace conclave
