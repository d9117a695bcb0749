#include "data/tokenizer/hugging_face/fields.h"

#include <algorithm>

#include "base/error.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/unsupported.h"
#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {

void check_keys(const Json& object, std::initializer_list<std::string_view> known, std::string_view where) {
  for (const auto& [key, value] : object.as_object()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw UnsupportedTokenizer(fmt::format("{}: the field '{}' is not supported", where, key.substr(0, 60)));
  }
}

const std::string& type_of(const Json& object, std::string_view where) {
  return *with_context(std::string(where), [&] { return &object.at("type").as_string(); });
}

bool flag_or(const Json& object, std::string_view key, bool otherwise) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? otherwise : value->as_bool();
}

std::string text_or(const Json& object, std::string_view key, std::string_view otherwise) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? std::string(otherwise) : value->as_string();
}

std::string one_character(const Json& object, std::string_view key, std::string_view where) {
  const std::string& text = object.at(key).as_string();
  CONCLAVE_USER_CHECK(!text.empty() && utf8::is_valid(text) && utf8::length_of(text[0]) == text.size(),
                      "{}: '{}' must be one character; got '{}'", where, key, text.substr(0, 60));
  return text;
}

void refuse_type(std::string_view where, const std::string& type, std::string_view known) {
  throw UnsupportedTokenizer(fmt::format("{} '{}' is not supported; known are {}", where, type.substr(0, 60), known));
}

}  // namespace conclave::hugging_face
