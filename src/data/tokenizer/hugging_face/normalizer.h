// What happens to a text before it is cut into words: the "normalizer" of a tokenizer.json.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"

namespace conclave::hugging_face {

/// A text on its way through the normalizers.
struct NormalizedText {
  std::string text;
  /// Whether its first character comes from the first character of the whole input (Metaspace's "first" asks for that).
  bool at_origin = true;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& input) const = 0;
};

/// nullptr for null. Throws UserError naming what is not supported.
std::unique_ptr<Normalizer> make_normalizer(const Json& json);

}  // namespace conclave::hugging_face
