// Tokenizer and other small files of a Hugging Face directory, which go with the model untouched.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace conclave {

/// Names of files that belong to a model besides weights and config.json, of those that are there.
std::vector<std::string> side_files(const std::string& directory);

/// Copies them, byte for byte.
void copy_side_files(const std::string& from, const std::string& to);

/// Options that name the tokenizer in `directory`; none if there is none that can be read.
std::vector<std::pair<std::string, Json>> hugging_face_tokenizer_options(const std::string& directory);

}  // namespace conclave
