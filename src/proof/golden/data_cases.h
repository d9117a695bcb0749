// Kinds of golden data cases. Each function throws Mismatch if the case does not hold, NotBuilt if it needs something
// that is not there.
#pragma once

#include <string>

#include "proof/golden/case_files.h"

namespace conclave::proof {

// `folder` holds the files that prefixes name.
void check_indexed_dataset(const Json& golden, const std::string& folder);
void check_gpt_dataset(const Json& golden, const std::string& folder);
void check_blended_dataset(const Json& golden, const std::string& folder);
void check_mock_dataset(const Json& golden, const std::string& folder);
void check_blending_indices(const Json& golden, const std::string& folder);
void check_requested_sizes(const Json& golden, const std::string& folder);
void check_split(const Json& golden, const std::string& folder);
void check_data_path(const Json& golden, const std::string& folder);
void check_sampler(const Json& golden, const std::string& folder);

}  // namespace conclave::proof
