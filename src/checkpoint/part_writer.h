// The steps of a save: one rank's files and index, and the rename that makes a checkpoint appear.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensor.h"
#include "checkpoint/directory.h"
#include "checkpoint/manifest.h"

namespace conclave {

/// What rank 0 must know of a rank's part.
struct RankPart {
  RankEntry entry;
  int64_t tensor_bytes = 0;
};

/// Writes `tensors` as the part of `rank` into `directory`: safetensors files of about `file_bytes`, and an index. All
/// is on disk on return.
RankPart write_rank_part(const std::string& directory, int64_t rank, const std::vector<CheckpointTensor>& tensors,
                         int64_t file_bytes);

/// "ITER.partial.PID", made and locked by this process until the object goes; then it is removed unless it was
/// committed. The lock is what tells a living process's directory from a dead one's.
class PartialDirectory {
 public:
  PartialDirectory(const std::string& run_directory, int64_t iteration);
  ~PartialDirectory();
  PartialDirectory(const PartialDirectory&) = delete;
  PartialDirectory& operator=(const PartialDirectory&) = delete;

  /// The path it has or would have in the process `pid`.
  static std::string path_for(const std::string& run_directory, int64_t iteration, int64_t pid);
  const std::string& path() const { return path_; }

  /// Writes the manifest, makes the directory appear as iter_%07d in one rename (taking the place of an older one),
  /// then updates latest_checkpointed_iteration.txt, then removes what `retention` gives up. Returns the final path.
  std::string commit(const Manifest& manifest, const Retention& retention);

 private:
  std::string run_directory_;
  int64_t iteration_;
  std::string path_;
  int fd_ = -1;
  bool committed_ = false;
};

}  // namespace conclave
