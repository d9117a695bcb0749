// Options as text: options.yaml of a run, JSON of a checkpoint, what a checkpoint fixes.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "config/parse.h"

namespace conclave {

/// All options of training as YAML in groups, which parse_yaml reads back to the same values.
std::string options_yaml(const Options& options);

/// The same as one flat object {"num-layers": 4, ...}; null: not given. options_from_json reads it back.
Json options_to_json(const Options& options);

/// Keys of the options that a checkpoint's weights fix, and its tokenizer.
std::vector<std::string> architecture_keys();

/// --use-checkpoint-args: the architecture in `saved` (made by options_to_json) replaces that in `parsed`; tokenizer
/// options given on purpose stay. Returns one line for each given option that the checkpoint overruled. Throws
/// UserError if `saved` cannot be read.
std::vector<std::string> take_architecture(ParsedOptions& parsed, const Json& saved);

/// The same for a model from elsewhere: `model` names its options only, so every other option of the architecture takes
/// its default; what is not architecture (dropout, ...) is taken where it was not given.
std::vector<std::string> take_model(ParsedOptions& parsed, const Json& model);

/// One line for each architecture option whose value differs from the checkpoint's. Only keys that `saved` has count.
std::vector<std::string> architecture_differences(const Options& options, const Json& saved);

}  // namespace conclave
