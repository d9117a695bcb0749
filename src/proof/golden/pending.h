// Folders of golden cases that the product cannot run yet: their cases are found and counted as not built.
#pragma once

#include <string>
#include <vector>

#include "proof/golden/golden.h"

namespace conclave::proof {

/// Every case below `folder`, in whatever form it stands there (entries of a `cases` list, NAME.safetensors with
/// NAME.json, a folder), as not built because of `missing`.
GoldenReport pending_report(const std::string& folder, const std::string& label, const std::string& missing);

}  // namespace conclave::proof
