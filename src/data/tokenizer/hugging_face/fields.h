// Reading the objects of a tokenizer.json strictly: what is not known is refused by name.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/json.h"

namespace conclave::hugging_face {

/// Throws UserError naming the first key of `object` that is not in `known`. `where` says which object it is ("decoder
/// Strip").
void check_keys(const Json& object, std::initializer_list<std::string_view> known, std::string_view where);
/// The "type" of a component.
const std::string& type_of(const Json& object, std::string_view where);
/// A boolean that may be absent or null.
bool flag_or(const Json& object, std::string_view key, bool otherwise);
/// A string that may be absent or null.
std::string text_or(const Json& object, std::string_view key, std::string_view otherwise);
/// A string that holds exactly one character.
std::string one_character(const Json& object, std::string_view key, std::string_view where);
[[noreturn]] void refuse_type(std::string_view where, const std::string& type, std::string_view known);

}  // namespace conclave::hugging_face
