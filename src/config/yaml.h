// YAML text as a JSON value: mappings keep their order, scalars stay texts (null apart).
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace conclave {

/// Throws UserError "WHAT: line L, column C: ..." on bad YAML, on keys that are no texts, on nesting
/// deeper than 16 and on anything but one mapping. Of a key that stands twice the last wins. An empty text is an empty
/// mapping.
Json yaml_to_json(std::string_view text, std::string_view what);

/// A text as a YAML scalar, quoted where it must be.
std::string yaml_scalar(std::string_view text);

}  // namespace conclave
