// rooms: comm
// mpirun -np N collective_speed [MIB [REPEATS]]: all-reduce (sum, f32) and all-to-all-v of that many MiB per rank, ours
// and the MPI library's own, taken in turns; medians of the slowest rank.
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "comm/world.h"

namespace conclave {
namespace {

double slowest_seconds(World& world, const std::function<void()>& work) {
  world.all().barrier("start");
  const Stopwatch watch;
  work();
  double mine = watch.seconds(), slowest = 0;
  MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Comparison {
  const char* name;
  std::function<void()> ours, plain;
};

void compare(World& world, const Comparison& comparison, double mib, int repeats) {
  std::vector<double> ours, plain;
  for (int i = -2; i < repeats; ++i) {
    const double a = slowest_seconds(world, comparison.ours), b = slowest_seconds(world, comparison.plain);
    if (i < 0) continue;  // first touch of memory, connections
    ours.push_back(a);
    plain.push_back(b);
  }
  if (world.rank() != 0) return;
  std::printf("| %s | %lld | %g | %.2f | %.2f | %.0f %% |\n", comparison.name, static_cast<long long>(world.size()),
              mib, 1e3 * median(ours), 1e3 * median(plain), 100 * median(plain) / median(ours));
}

void measure(World& world, double mib, int repeats) {
  const auto device = make_device("cpu");
  const Stream stream = device->default_stream();
  const auto members = static_cast<int64_t>(world.size());
  const int64_t rows = std::max<int64_t>(1, static_cast<int64_t>(mib * 1024 * 1024 / 4) / members);
  const int64_t count = rows * members;
  const MemoryTag tag{MemoryCategory::kWorkspace, "speed"};
  const Tensor in = from_host<float>(*device, {count}, std::vector<float>(static_cast<size_t>(count)), tag);
  const Tensor out = from_host<float>(*device, {count}, std::vector<float>(static_cast<size_t>(count)), tag);
  compare(
      world,
      {.name = "all-reduce",
       .ours = [&] { world.all().all_reduce(stream, in, ReduceOp::kSum, "speed"); },
       .plain =
           [&] { MPI_Allreduce(MPI_IN_PLACE, in.raw(), static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD); }},
      mib, repeats);
  const std::vector<int64_t> even(static_cast<size_t>(members), rows);
  const std::vector<int> counts(static_cast<size_t>(members), static_cast<int>(rows));
  std::vector<int> places;
  for (int64_t r = 0; r < members; ++r) places.push_back(static_cast<int>(r * rows));
  compare(world,
          {.name = "all-to-all-v",
           .ours = [&] { world.all().all_to_all_rows(stream, in, even, out, even, "speed"); },
           .plain =
               [&] {
                 MPI_Alltoallv(in.raw(), counts.data(), places.data(), MPI_FLOAT, out.raw(), counts.data(),
                               places.data(), MPI_FLOAT, MPI_COMM_WORLD);
               }},
          mib, repeats);
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  const double mib = argc > 1 ? std::atof(argv[1]) : 64;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 11;
  conclave::run_in_world({}, [&](conclave::World& world) {
    if (world.rank() == 0)
      std::printf(
          "| operation | ranks | MiB | ms | library ms | of the library's speed |\n|---|---|---|---|---|---|\n");
    conclave::measure(world, mib, repeats);
  });
  return 0;
}
