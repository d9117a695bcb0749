// Reading the objects of a tokenizer.json strictly: what is not known is refused by name.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "data/tokenizer/unsupported.h"

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

/// Runs `action`; a UserError gets `context` in front and keeps its type.
template <typename Action>
auto with_context(const std::string& context, Action&& action) {
  try {
    return action();
  } catch (const UnsupportedTokenizer& error) {
    throw UnsupportedTokenizer(context + ": " + error.what());
  } catch (const UserError& error) {
    throw UserError(context + ": " + error.what());
  }
}

}  // namespace conclave::hugging_face
