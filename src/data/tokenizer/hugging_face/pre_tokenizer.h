// How a text is cut into words: the "pre_tokenizer" of a tokenizer.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/tokenizer/hugging_face/pieces.h"

namespace conclave::hugging_face {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

struct PreTokenizers {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  /// Whether the words, as the steps leave them, are raw bytes that are yet to be spelled in the byte-level alphabet.
  /// (A ByteLevel step at the end leaves that to the model, which knows the ids of single bytes.)
  bool bytes = false;
};

/// Null gives no steps. Throws UserError naming what is not supported.
PreTokenizers make_pre_tokenizers(const Json& json);

}  // namespace conclave::hugging_face
