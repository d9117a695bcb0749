#include "trainer/job.h"

#include <omp.h>

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "comm/gpu_transport.h"
#include "comm/launcher.h"
#include "trainer/agreement.h"

namespace conclave {
namespace {

std::vector<ContextExchange> context_exchange(const std::vector<std::string>& words) {
  std::vector<ContextExchange> out;
  for (const std::string& word : words) {
    out.push_back(word == "all_gather" ? ContextExchange::kGather
                  : word == "a2a"      ? ContextExchange::kHeads
                  : word == "a2a+p2p"  ? ContextExchange::kHeadsThenRing
                                       : ContextExchange::kRing);
  }
  return out;
}

CommSettings comm_settings(const ParallelOptions& parallel) {
  return {.check_collectives = parallel.check_collectives,
          .timeout_seconds = 60.0 * static_cast<double>(parallel.distributed_timeout_minutes)};
}

// One rank: knows how many there are and whether it speaks.
int run_rank(ParsedOptions parsed, World& world, const std::function<int(World&, const ParsedOptions&)>& work) {
  parsed.options.parallel.world_size = world.size();
  set_quiet_thread(world.rank() != 0);
  const int code = work(world, parsed);
  set_quiet_thread(false);
  return code;
}

int run_threads(const ParsedOptions& parsed, const std::function<int(World&, const ParsedOptions&)>& work) {
  const int64_t ranks = parsed.options.parallel.ranks_as_threads;
  const int64_t asked = parsed.options.device.threads;
  const int64_t cores = omp_get_max_threads();
  std::mutex mutex;
  int largest = 0;
  run_ranks_as_threads({.ranks = ranks,
                        .openmp_threads = static_cast<int>(asked > 0 ? asked : std::max<int64_t>(cores / ranks, 1)),
                        .settings = comm_settings(parsed.options.parallel)},
                       [&](World& world) {
                         const int code = run_rank(parsed, world, work);
                         const std::lock_guard lock(mutex);
                         largest = std::max(largest, code);
                       });
  return largest;
}

}  // namespace

std::unique_ptr<ProcessGroups> make_job_groups(const Options& options, World& world) {
  CONCLAVE_USER_CHECK(
      options.device.device != "cuda" || world.size() == 1 || world.transport() == std::string("mpi"),
      "--device cuda: {} ranks in one process would share its GPU; start a process for each (mpirun -np "
      "{} ...), or use --device cpu",
      world.size(), world.size());
  CONCLAVE_USER_CHECK(
      options.device.device != "cuda" || world.size() == 1 || gpu_transport_is_built_in(),
      "--device cuda with {} ranks: this program was built without NCCL (docs/cuda.md); use one rank, or "
      "--device cpu",
      world.size());
  LayoutSizes sizes = layout_sizes(options);
  sizes.world = world.size();
  if (sizes.ranks_per_node == 0) sizes.ranks_per_node = world.ranks_per_machine();
  auto groups = std::make_unique<ProcessGroups>(RankLayout(sizes), world, options.parallel.sequence_parallel);
  groups->set_context_exchange(context_exchange(options.parallel.cp_comm_type));
  return groups;
}

int run_job(ParsedOptions parsed, const std::function<int(World&, const ParsedOptions&)>& work) {
  if (parsed.options.parallel.ranks_as_threads > 1) return run_threads(parsed, work);
  if (parsed.options.device.threads > 0) omp_set_num_threads(static_cast<int>(parsed.options.device.threads));
  if (is_launched()) {
    int code = 0;
    const CommSettings settings = comm_settings(parsed.options.parallel);
    // Until it is known that all ranks check their collectives, none does.
    run_launched_rank({.check_collectives = false, .timeout_seconds = settings.timeout_seconds}, [&](World& world) {
      check_ranks_agree(world, "was started with other options", comparable_options(parsed.options));
      world.configure(settings);
      code = run_rank(std::move(parsed), world, work);
    });
    return code;
  }
  const std::unique_ptr<World> world = make_self_world();
  return run_rank(std::move(parsed), *world, work);
}

}  // namespace conclave
