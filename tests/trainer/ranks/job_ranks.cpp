// A rank of `conclave train` that something befalls: job_ranks FAULT RANK ITERATION NAME COUNT WORDS..., at the COUNTth
// collective of that iteration whose name begins with NAME. FAULT: "kill" the rank, or "stray": it calls a collective
// that the others do not.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "config/parse.h"
#include "ranks/watched_world.h"
#include "trainer/job.h"
#include "trainer/training_run.h"

namespace {

using namespace conclave;

struct Fault {
  std::string kind;
  int64_t rank, iteration;
  std::string name;
  int64_t count;
};

// The file tells when it happened.
void befall(const Fault& fault, World& world) {
  if (const char* mark = std::getenv("FAULT_MARK")) close(open(mark, O_CREAT | O_WRONLY, 0644));
  if (fault.kind == "kill") raise(SIGKILL);
  world.all().barrier("a stray call");
}

int run_rank(World& world, const ParsedOptions& options, const Fault& fault) {
  int64_t iteration = 0, calls = 0;
  WatchedWorld watched(world, [&](const std::string& name) {
    if (name == "votes") ++iteration, calls = 0;  // called once before every iteration
    if (world.rank() != fault.rank || iteration != fault.iteration || !name.starts_with(fault.name)) return;
    if (++calls == fault.count) befall(fault, world);
  });
  TrainingRun run(options, watched);
  return static_cast<int>(run.run());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  const Fault fault{argv[1], std::atoll(argv[2]), std::atoll(argv[3]), argv[4], std::atoll(argv[5])};
  try {
    return run_job(parse_command_line(Command::kTrain, {argv + 6, argv + argc}),
                   [&](World& world, const ParsedOptions& options) { return run_rank(world, options, fault); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "conclave: %s\n", error.what());
    return 1;
  }
}
