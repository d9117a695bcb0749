// The ranks of a job: how many there are, which one this is, and the groups it belongs to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace conclave {

struct CommSettings {
  /// Members compare names, sequence numbers, operations, types and sizes of every collective, also across groups: a
  /// mismatch is an error that names both sides. Without it, a mismatch of names or groups shows as a time-out.
  bool check_collectives = false;
  double timeout_seconds = 600;  ///< of every wait for other ranks; 0: none
};

class World {
 public:
  virtual ~World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  virtual const char* transport() const = 0;  ///< "self", "threads", "mpi", "sim"
  /// Ranks of a machine, where every machine has a run of as many neighbouring ranks; 0: placed otherwise, or unknown.
  virtual int64_t ranks_per_machine() const { return 0; }
  /// Changes what a launched job began with (run_in_world), alike on all ranks and before the first group.
  virtual void configure(const CommSettings&) {}

  /// The group of these ranks of the world, this one among them, in this order; made when first asked for, without
  /// talking to the others. The same name and ranks give the same group.
  Communicator& group(const std::string& name, const std::vector<int64_t>& ranks);
  /// The same, for callers that keep the communicators themselves: once per name and ranks.
  std::unique_ptr<Communicator> make(const std::string& name, const std::vector<int64_t>& ranks);
  /// All ranks, as "world".
  Communicator& all();
  /// Groups made so far, in the order of making.
  const std::vector<std::unique_ptr<Communicator>>& groups() const { return groups_; }

 protected:
  World(int64_t rank, int64_t size) : rank_(rank), size_(size) {}
  virtual std::unique_ptr<Communicator> make_group(const std::string& name, const std::vector<int64_t>& ranks,
                                                   int position) = 0;

 private:
  int64_t rank_, size_;
  std::vector<std::unique_ptr<Communicator>> groups_;
};

/// Runs `work` as this process's rank: of the job that a launcher started (comm/launcher.h), by MPI, else alone. A
/// launched rank whose work throws ends the whole job: the first cause is written to standard error once, as
/// "conclave: rank 3: ...", and the launcher's exit code is that of the error; this call does not return then. Once per
/// process. Devices are made inside `work`.
void run_in_world(const CommSettings& settings, const std::function<void(World&)>& work);

/// One process, one rank.
std::unique_ptr<World> make_self_world();

/// Shapes only, for the device `sim`: this rank's calls are counted, nothing is exchanged.
std::unique_ptr<World> make_sim_world(int64_t rank, int64_t size);

struct ThreadRanks {
  int64_t ranks = 1;
  int openmp_threads = 1;  ///< of each rank
  CommSettings settings;
};
/// Runs `work` once per rank, each in a thread of this process. Returns when all are done. When one throws, the waits
/// of all others end with PeerFailed, and the first cause is thrown here, of the same family, with "rank 3: " before
/// its text. Devices are made inside `work`, one per rank.
void run_ranks_as_threads(const ThreadRanks& ranks, const std::function<void(World&)>& work);

}  // namespace conclave
