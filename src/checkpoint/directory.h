// The run directory: where checkpoints stand, which one is the latest, which go, what a dead process left behind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

inline constexpr const char* kLatestFile = "latest_checkpointed_iteration.txt";
/// "iter_0000100".
std::string checkpoint_name(int64_t iteration);

/// Iterations of the complete checkpoints (those with a manifest) in a run directory, ascending. Empty if the
/// directory is not there.
std::vector<int64_t> list_checkpoints(const std::string& run_directory);

struct CheckpointLocation {
  std::string directory;  ///< ".../iter_0000100"
  int64_t iteration = 0;
};

/// Which checkpoint to load. `load` is a run directory or a checkpoint directory itself; `step` > 0 asks for that
/// iteration, else latest_checkpointed_iteration.txt decides (without that file: the newest complete one). Nothing if
/// there is no checkpoint at all and none was asked for by number. UserError, naming the complete checkpoints that
/// are there, if the one asked for is missing.
std::optional<CheckpointLocation> find_checkpoint(const std::string& load, int64_t step = 0);

/// Which older checkpoints go after a save. Default: none.
struct Retention {
  int64_t interval = 0;   ///< checkpoints whose iteration it divides stay for ever; 0: no such rule
  int64_t keep_last = 0;  ///< newest checkpoints that stay; 0: all, or 1 where `interval` is set
};

/// The iterations in `present` (ascending) that `retention` gives up after `latest` was saved; never `latest` or a
/// later one. Pure.
std::vector<int64_t> superseded_checkpoints(const std::vector<int64_t>& present, int64_t latest,
                                            const Retention& retention);

/// Removes what dead processes left in a run directory: unfinished checkpoints (ITER.partial.PID), half-removed ones,
/// temporary files. Those of a living process stay. Returns how many entries went; a directory that is not there is
/// no error.
int64_t clean_run_directory(const std::string& run_directory);

/// "; load an earlier one with --ckpt-step 50" or what else a person can do when `checkpoint_directory` is damaged.
std::string advice_for_damaged(const std::string& checkpoint_directory);

}  // namespace conclave
