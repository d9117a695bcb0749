// Puts every golden case below a directory through the product and says how each folder fared.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proof/golden/golden.h"

namespace conclave::proof {

using GoldenFunction = std::function<std::vector<GoldenReport>(const std::string& folder)>;

/// A folder of cases and the function that reads it.
struct GoldenFolder {
  std::string name;  ///< "router"
  GoldenFunction run;
};

/// The folders whose form the product knows. Cases with tensors run on the device, and those that are
/// models in the layout, that is given.
std::vector<GoldenFolder> golden_folders(const ParsedOptions& layout = {});

/// Runs the folders below `directory` in the order of their paths, hands each one's text to `print` as soon as it is
/// done, and returns the number of failed cases. `directory` may itself be a folder of cases. Loose files are left
/// alone; a folder of an unknown name that holds none of the known ones counts as one case not built. Throws UserError
/// where there is no folder.
///
///   router: 63 passed, 0 failed, 0 not built
///     failed: cap_probs: probs[17] is 0.25, must be 0.5
///   training: 129 passed, 0 failed, 1 not built
///   training/flops.json: 38 passed, 0 failed, 1 not built
///     not built: flops.json#12: multi-latent attention
int64_t run_golden(const std::string& directory, const std::function<void(const std::string& text)>& print,
                   const std::vector<GoldenFolder>& folders);

}  // namespace conclave::proof
