#include <omp.h>

#include <thread>

#include "comm/failure.h"
#include "comm/threads/job_board.h"
#include "comm/threads/thread_group.h"
#include "comm/world.h"

namespace conclave {
namespace {

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(JobBoard& board, const std::string& name, const std::vector<int64_t>& ranks, int position)
      : Communicator(name, ranks, position), board_(board), shared_(board.group(name, ranks)) {}

 protected:
  void submit(const Stream& stream, CollectiveCall call) override {
    CONCLAVE_CHECK(stream.device().kind() == DeviceKind::kCpu, "[comm/threads] '{}' on the device {}", call.name,
                   stream.device().name());
    begin(call);
    stream.device().run_on(stream, [this, call = std::move(call)] { carry_out(call); });
  }
  void wait_for_all(CollectiveCall call) override {
    begin(call);
    carry_out(call);
  }

 private:
  JobBoard& board_;
  std::shared_ptr<ThreadGroup> shared_;

  void begin(const CollectiveCall& call) {
    board_.check();
    if (board_.settings().check_collectives && call.kind != CollectiveKind::kExchange) shared_->note(rank(), call);
  }
  void carry_out(const CollectiveCall& call) {
    if (call.kind == CollectiveKind::kExchange) {
      shared_->exchange(rank(), call);
    } else {
      shared_->meet(rank(), call);
    }
  }
};

class ThreadWorld final : public World {
 public:
  ThreadWorld(JobBoard& board, int64_t rank, int64_t size) : World(rank, size), board_(board) {}
  const char* transport() const override { return "threads"; }

 protected:
  std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>& ranks,
                                           int position) override {
    return std::make_unique<ThreadCommunicator>(board_, name, ranks, position);
  }

 private:
  JobBoard& board_;
};

void run_rank(JobBoard& board, const ThreadRanks& ranks, int64_t rank, const std::function<void(World&)>& work) {
  omp_set_num_threads(ranks.openmp_threads);
  try {
    ThreadWorld world(board, rank, ranks.ranks);
    work(world);
  } catch (...) {
    board.fail(rank, std::current_exception());
  }
  board.leave(rank);
}

}  // namespace

void run_ranks_as_threads(const ThreadRanks& ranks, const std::function<void(World&)>& work) {
  CONCLAVE_CHECK(ranks.ranks >= 1 && ranks.openmp_threads >= 1, "{} ranks of {} threads", ranks.ranks,
                 ranks.openmp_threads);
  JobBoard board(ranks.ranks, ranks.settings);
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks.ranks; ++rank) {
    threads.emplace_back([&, rank] { run_rank(board, ranks, rank, work); });
  }
  for (std::thread& thread : threads) thread.join();
  board.rethrow();
}

}  // namespace conclave
