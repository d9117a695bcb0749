// Classes of characters that tokenizers ask about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace conclave {

/// Unicode's White_Space.
bool is_white_space(uint32_t code);
/// A word character as Unicode Technical Standard 18 has it: alphabetic, marks, decimal digits, connectors, joiners.
/// (In the patterns of tokenizer files \w is another set, see ruby_pattern.h.)
inline constexpr std::string_view kWordCharacter = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d}])";
bool is_word_character(uint32_t code);
/// Bytes of white space at the start, at the end. `text` is valid UTF-8.
size_t blank_prefix(std::string_view text);
size_t blank_suffix(std::string_view text);
/// The last character of a text that is not empty.
uint32_t last_character(std::string_view text);

}  // namespace conclave
