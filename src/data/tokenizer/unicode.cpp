#include "data/tokenizer/unicode.h"

#include <string>

#include "data/tokenizer/regex.h"
#include "data/tokenizer/utf8.h"

namespace conclave {

bool is_white_space(uint32_t code) {
  return (code >= 0x9 && code <= 0xD) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

bool is_word_character(uint32_t code) {
  static const Regex word = Regex::from_ruby(kWordCharacter);
  std::string text;
  utf8::append(text, code);
  Regex::Match match;
  return word.find(text, 0, match);
}

size_t blank_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const utf8::Character c = utf8::decode(text.substr(at));
    if (!is_white_space(c.code)) break;
    at += c.length;
  }
  return at;
}

uint32_t last_character(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return utf8::decode(text.substr(start)).code;
}

size_t blank_suffix(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!is_white_space(utf8::decode(text.substr(start, end - start)).code)) break;
    end = start;
  }
  return text.size() - end;
}

}  // namespace conclave
