#include "comm/failing_ranks.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/exit_code.h"

namespace conclave::cases {
namespace {

const MemoryTag kTag{MemoryCategory::kWorkspace, "failing rank"};

struct Rank {
  explicit Rank(World& world)
      : all(world.all()), device(make_device("cpu")), stream(device->default_stream()), at_fault(world.rank() == 1) {
    all.barrier("start");
  }
  Communicator& all;
  std::unique_ptr<Device> device;
  Stream stream;
  bool at_fault;

  Tensor tensor(int64_t count, DType dtype = DType::kF32) const { return Tensor::empty(*device, {count}, dtype, kTag); }
  void reduce(int64_t count, const char* name, ReduceOp op = ReduceOp::kSum, DType dtype = DType::kF32) const {
    const Tensor x = tensor(count, dtype);
    copy_from_host<uint8_t>(stream, x.dtype() == DType::kU8 ? x : tensor(count, DType::kU8),
                            std::vector<uint8_t>(static_cast<size_t>(count)));
    std::fill_n(x.raw(), x.bytes(), std::byte{0});
    all.all_reduce(stream, x, op, name);
  }
};

void other_name(World& world) {
  const Rank rank(world);
  rank.reduce(100, rank.at_fault ? "loss" : "gradient norm");
}

void other_size(World& world) {
  const Rank rank(world);
  rank.reduce(rank.at_fault ? 1001 : 1000, "gradients");
}

void other_dtype(World& world) {
  const Rank rank(world);
  rank.reduce(64, "gradients", ReduceOp::kSum, rank.at_fault ? DType::kF64 : DType::kF32);
}

void other_reduction(World& world) {
  const Rank rank(world);
  rank.reduce(64, "gradients", rank.at_fault ? ReduceOp::kMax : ReduceOp::kSum);
}

void other_operation(World& world) {
  const Rank rank(world);
  if (rank.at_fault) {
    rank.all.broadcast(rank.stream, rank.tensor(64), 0, "weights");
  } else {
    rank.reduce(64, "gradients");
  }
}

void other_group(World& world) {
  const Rank rank(world);
  Communicator& pair =
      world.group("pair", rank.at_fault || world.rank() == 0 ? std::vector<int64_t>{0, 1} : std::vector<int64_t>{2});
  if (rank.at_fault) {
    pair.barrier("of the pair");
  } else {
    rank.reduce(64, "gradients");
  }
}

void other_counts(World& world) {
  const Rank rank(world);
  // Rank 1 expects one row more from rank 2 than it gets.
  const int64_t more = rank.at_fault ? 1 : 0;
  rank.all.all_to_all_rows(rank.stream, rank.tensor(6).view({6, 1}), {2, 2, 2},
                           rank.tensor(6 + more).view({6 + more, 1}), {2, 2, 2 + more}, "tokens");
}

void swapped_order(World& world) {
  const Rank rank(world);
  rank.reduce(8, rank.at_fault ? "second" : "first");
  rank.reduce(8, rank.at_fault ? "first" : "second");
}

// Rank 2 learns of it on a side stream, while its host waits for rank 1, which waits for rank 0, which waits for
// rank 1.
void stray_call_beside_a_side_stream(World& world) {
  const Rank rank(world);
  const Stream side = rank.device->make_stream("side");
  if (rank.at_fault) rank.all.barrier("stray");
  if (world.rank() == 0) {
    rank.all.receive(rank.stream, rank.tensor(4), 1, "activations");
    return;
  }
  Communicator& pair = world.group("pair", {1, 2});
  pair.all_reduce(side, rank.tensor(64), ReduceOp::kMax, "gradients");
  pair.all_reduce(rank.stream, rank.tensor(64), ReduceOp::kMax, "rows");
}

void other_size_of_a_message(World& world) {
  const Rank rank(world);
  if (rank.at_fault) rank.all.send(rank.stream, rank.tensor(10), 2, "activations");
  if (world.rank() == 2) rank.all.receive(rank.stream, rank.tensor(12), 1, "activations");
  rank.all.barrier("end");
}

void never_comes(World& world) {
  const Rank rank(world);
  if (rank.at_fault) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  rank.reduce(64, "gradients");
}

void never_sends(World& world) {
  const Rank rank(world);
  if (rank.at_fault) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  if (world.rank() == 0) rank.all.receive(rank.stream, rank.tensor(10), 1, "activations");
}

void never_comes_to_a_side_stream(World& world) {
  const Rank rank(world);
  const Stream side = rank.device->make_stream("side");
  if (rank.at_fault) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  rank.all.all_reduce(side, rank.tensor(64), ReduceOp::kMax, "gradients");
  rank.device->synchronize();
}

void throws(World& world) {
  const Rank rank(world);
  if (rank.at_fault) throw UserError("[test] this rank's data is missing");
  rank.reduce(64, "gradients");
}

void throws_beside_a_side_stream(World& world) {
  const Rank rank(world);
  const Stream side = rank.device->make_stream("side");
  // Goes on for ever: the others do not call it.
  if (rank.at_fault) rank.all.all_reduce(side, rank.tensor(64), ReduceOp::kMax, "gradients");
  if (rank.at_fault) throw UserError("[test] this rank's data is missing");
  rank.all.receive(rank.stream, rank.tensor(4), 1, "activations");
}

void all_throw(World& world) {
  const Rank rank(world);
  throw UserError("[test] everybody's data is missing");
}

void asks_for_an_exit_code(World& world) {
  const Rank rank(world);
  if (rank.at_fault) throw ExitRequest(ExitCode::kResumeToDisambiguate, "[test] the loss is not to be believed");
  rank.reduce(64, "gradients");
}

void leaves_early(World& world) {
  const Rank rank(world);
  if (!rank.at_fault) rank.reduce(64, "gradients");
}

void is_killed(World& world) {
  const Rank rank(world);
  if (rank.at_fault) raise(SIGKILL);
  rank.reduce(64, "gradients");
}

// As in training, where SIGTERM means: finish the step and save.
void throws_among_the_deaf(World& world) {
  std::signal(SIGTERM, SIG_IGN);
  throws(world);
}

void exits(World& world) {
  const Rank rank(world);
  if (rank.at_fault) _exit(7);
  rank.reduce(64, "gradients");
}

}  // namespace

const std::vector<FailingJob>& failing_jobs() {
  const CommSettings unchecked{.timeout_seconds = 60};
  const CommSettings hasty{.timeout_seconds = 2};
  static const std::vector<FailingJob> jobs = {
      {"other name", other_name, {"all_reduce 'loss'", "all_reduce 'gradient norm'", "rank 1 called", "group world"}},
      {"other size", other_size, {"sum of 1001 f32", "sum of 1000 f32", "rank 1 called", "'gradients'"}},
      {"other size, unchecked", other_size, {"'gradients'", "rank 1"}, unchecked},
      {"other dtype", other_dtype, {"64 f64", "64 f32", "rank 1 called"}},
      {"other reduction", other_reduction, {"max of 64", "sum of 64", "rank 1 called"}},
      {"other operation", other_operation, {"broadcast 'weights'", "all_reduce 'gradients'", "rank 1 called"}},
      {"other group", other_group, {"barrier 'of the pair'", "group pair", "group world", "rank 1 called"}},
      {"other counts", other_counts, {"all_to_all_rows 'tokens'", "rank 1 called", "2 elements", "3 from it"}},
      {"swapped order", swapped_order, {"'first'", "'second'", "rank 1 called"}},
      {"stray call, side stream", stray_call_beside_a_side_stream, {"'stray'", "'gradients'", "rank 1 called"}},
      {"message of other size", other_size_of_a_message, {"rank 1", "rank 2", "'activations'"}},
      {"never comes", never_comes, {"all_reduce 'gradients'", "group world", "2 s for rank 1"}, hasty},
      {"never sends", never_sends, {"'activations'", "group world", "2 s for rank 1"}, hasty},
      {"never comes, side stream", never_comes_to_a_side_stream, {"'gradients'", "2 s for rank 1"}, hasty},
      {"throws", throws, {"rank 1: [test] this rank's data is missing"}},
      {"throws, side stream", throws_beside_a_side_stream, {"rank 1: [test] this rank's data is missing"}, unchecked},
      {"all throw", all_throw, {"[test] everybody's data is missing"}},
      {"asks for an exit code", asks_for_an_exit_code, {"rank 1: [test] the loss"}, unchecked, 16},
      {"leaves early", leaves_early, {"waits for rank 1", "'gradients'", "work is over"}, unchecked},
      {"is killed", is_killed, {"rank 1: its process ended without a word"}, unchecked, 137, true},
      {"throws among the deaf",
       throws_among_the_deaf,
       {"rank 1: [test] this rank's data is missing"},
       unchecked,
       1,
       true},
      {"exits", exits, {"rank 1: its process ended without a word"}, unchecked, 7, true},
  };
  return jobs;
}

}  // namespace conclave::cases
