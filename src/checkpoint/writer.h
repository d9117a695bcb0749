// Saving. Every rank writes the boxes it owns as safetensors files with an index of its own; rank 0 writes one small
// manifest and makes the checkpoint appear with one rename. Format: docs/file-formats.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint_tensor.h"
#include "checkpoint/directory.h"
#include "comm/communicator.h"

namespace conclave {

enum class SaveMode {
  kNow,        ///< save() returns when the checkpoint is there
  kBackground  ///< save() takes a snapshot into host memory and returns; a thread writes it
};

struct CheckpointWriterSettings {
  std::string run_directory;
  SaveMode mode = SaveMode::kNow;
  int64_t file_bytes = int64_t{8} << 30;  ///< a rank starts another file beyond this; a single box is never split
  Retention retention;
};

struct SaveReport {
  int64_t iteration = 0;
  std::string directory;
  int64_t bytes = 0;         ///< tensor bytes of all ranks
  double stall_seconds = 0;  ///< how long save() held the caller of this rank
  double write_seconds = 0;  ///< from the call of save() until the checkpoint was there
};

/// Saves into one run directory; one object for a whole run, driven by one thread per rank. Every member function but
/// the destructor is collective over `world`.
///
/// A failure (full disk, no permission, another rank's failure) throws UserError from the call that learns of it:
/// save() in mode kNow, else the next save(), poll() or finish(). The unfinished directory is removed by then and
/// earlier checkpoints are untouched; the writer can be used again.
class CheckpointWriter {
 public:
  /// Rank 0 makes the run directory, cleans it of what dead processes left, and finds out whether it can be written
  /// to. `stream` is where the (small) collectives run.
  CheckpointWriter(CheckpointWriterSettings settings, Communicator& world, const Stream& stream);
  /// Waits for a save under way; a failure is logged. With several ranks call finish() first: a checkpoint that was
  /// not finished together is dropped.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Begins (kBackground) or makes (kNow) the checkpoint of `iteration`. Waits first for one still under way. `state`
  /// is free-form and goes into the manifest; rank 0's counts. An existing checkpoint of the same iteration is
  /// replaced. Returns the seconds it held the caller.
  double save(int64_t iteration, const std::vector<CheckpointTensor>& tensors, const Json& state);
  /// Never waits for the disk: what was completed since the last call. Call it once a step.
  std::vector<SaveReport> poll();
  /// Waits for the save under way, if any.
  std::vector<SaveReport> finish();
  bool in_flight() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace conclave
