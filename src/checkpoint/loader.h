// Loading by all ranks together, under any layout: each reads the bytes of its own boxes and a share of the indexes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensor.h"
#include "comm/communicator.h"

namespace conclave {

struct LoadArgs {
  std::string directory;  ///< a complete checkpoint
  /// What this rank wants, filled from the checkpoint: names unique on the rank, shapes and dtypes those stored. Ranks
  /// may want the same elements.
  const std::vector<CheckpointTensor>& wanted;
  /// Whether a stored tensor may be wanted by no rank.
  std::function<bool(const std::string& name)> may_be_left;
  /// Turns elements of another dtype into those wanted, where a wanted f32 tensor is stored as bf16, f16 or f64. None:
  /// dtypes must be equal.
  std::function<void(DType from, std::span<const std::byte> source, DType to, std::span<std::byte> target)> convert =
      nullptr;
  Communicator& world;
  Stream stream;
};

/// Collective over `world`. Throws UserError on every rank if one fails, naming it: damage (with file, tensor and
/// advice), or a checkpoint that does not fit what is wanted, all misfits of a rank at once. Then what was to be filled
/// may be filled in part. On `sim` shapes alone are checked, by this rank alone.
void load_checkpoint(const LoadArgs& args);

}  // namespace conclave
