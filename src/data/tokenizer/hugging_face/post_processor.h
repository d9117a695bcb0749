// What is put around the ids of a text: the "post_processor" of a tokenizer.json.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"

namespace conclave::hugging_face {

/// The ids before and behind those of the text.
struct Template {
  std::vector<int32_t> before, behind;
};

/// Null gives an empty one. Throws UserError naming what is not supported.
Template make_template(const Json& json);

}  // namespace conclave::hugging_face
