// What stands in a checkpoint, a run directory or a data set, as text for people and as JSON for programs.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace conclave {

struct Inspection {
  std::string text;
  Json json;
  bool sound = true;  ///< false: a check found faults, or a comparison found differences
};

/// Any of the three: a checkpoint directory, a run directory, or the prefix (or one file) of a data set. UserError
/// saying what was looked for if it is none.
Inspection inspect_path(const std::string& path);
/// The same with every checksum checked (of a run: of all its checkpoints; of a data set: every index entry).
Inspection verify_path(const std::string& path);
/// Two checkpoints tensor by tensor; a run directory stands for its latest one.
Inspection compare_paths(const std::string& path, const std::string& other);

Inspection inspect_checkpoint(const std::string& checkpoint_directory);
/// Checkpoints, and what metrics.jsonl tells.
Inspection inspect_run(const std::string& run_directory);
Inspection inspect_dataset(const std::string& prefix);

}  // namespace conclave
