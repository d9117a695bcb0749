#include "data/tokenizer/hugging_face/pattern.h"

#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/fields.h"

namespace conclave::hugging_face {

Regex compile_pattern(const Json& json, const std::string& where) {
  return with_context(where, [&] {
    check_keys(json, {"String", "Regex"}, "pattern");
    if (const Json* text = json.find("String")) return Regex::literal(text->as_string());
    return Regex::from_ruby(json.at("Regex").as_string());
  });
}

}  // namespace conclave::hugging_face
