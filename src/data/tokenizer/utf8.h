// UTF-8 as tokenizers need it: validation, replacement of broken bytes, walking characters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace conclave::utf8 {

inline constexpr uint32_t kReplacement = 0xFFFD;
inline constexpr std::string_view kReplacementText = "\xEF\xBF\xBD";

/// A decoded character. `length` is the number of bytes consumed (at least 1); a broken sequence has `valid` false, the
/// replacement character, and the length of its maximal subpart (Unicode 15, section 3.9, table 3-8).
struct Character {
  uint32_t code;
  uint32_t length;
  bool valid;
};

/// The character at the start of `text`, which must not be empty. Surrogates, overlong forms and codes above U+10FFFF
/// are broken.
Character decode(std::string_view text);

/// Whether the whole text is valid.
bool is_valid(std::string_view text);

/// Appends `code` (a scalar value) in UTF-8.
void append(std::string& out, uint32_t code);

/// Appends `text` with each maximal broken sequence replaced by U+FFFD.
void append_replacing_broken(std::string& out, std::string_view text);

/// Bytes at the end of `text` that could become a character if more bytes follow (0 to 3).
size_t incomplete_tail(std::string_view text);

/// The length that the first byte of a valid sequence announces.
inline uint32_t length_of(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace conclave::utf8
