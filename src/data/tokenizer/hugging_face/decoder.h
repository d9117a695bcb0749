// How tokens become text again: the "decoder" of a tokenizer.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"

namespace conclave::hugging_face {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Changes a list of tokens; what is left at the end, written without gaps, is the text.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// nullptr for null: tokens are then joined with blanks. Throws UserError naming what is not supported.
std::unique_ptr<Decoder> make_decoder(const Json& json);

}  // namespace conclave::hugging_face
