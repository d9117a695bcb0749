// The pattern of a Split or Replace: {"String": "..."} or {"Regex": "..."}.
#pragma once

#include <string>

#include "base/json.h"
#include "data/tokenizer/regex.h"

namespace conclave::hugging_face {

/// Throws UserError that begins with `where`.
Regex compile_pattern(const Json& json, const std::string& where);

}  // namespace conclave::hugging_face
