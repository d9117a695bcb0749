// Kinds of golden schedule cases that concern pipelines.
#pragma once

#include <string>

#include "base/json.h"

namespace conclave::proof {

void check_order(const Json& golden, const std::string& folder);
void check_table(const Json& golden, const std::string& folder);
void check_warmup(const Json& golden, const std::string& folder);
void check_layout_string(const Json& golden, const std::string& folder);
void check_layer_split(const Json& golden, const std::string& folder);

}  // namespace conclave::proof
