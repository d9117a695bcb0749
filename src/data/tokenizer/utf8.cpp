#include "data/tokenizer/utf8.h"

#include <cstring>

namespace conclave::utf8 {
namespace {

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  while (i + 8 <= text.size()) {
    uint64_t chunk;
    std::memcpy(&chunk, text.data() + i, 8);
    if (chunk & 0x8080808080808080ULL) break;
    i += 8;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

// Length of the valid text at the start.
size_t valid_prefix(std::string_view text) {
  size_t i = ascii_prefix(text);
  while (i < text.size()) {
    const Character c = decode(text.substr(i));
    if (!c.valid) return i;
    i += c.length;
    i += ascii_prefix(text.substr(i));
  }
  return i;
}

}  // namespace

Character decode(std::string_view text) {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[i]); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  // The allowed range of the second byte shuts out overlong forms, surrogates and codes above U+10FFFF.
  uint32_t length = 0, low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {kReplacement, 1, false};
  }
  uint32_t code = first & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {kReplacement, i, false};
    code = code << 6 | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {code, length, true};
}

bool is_valid(std::string_view text) { return valid_prefix(text) == text.size(); }

void append(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

void append_replacing_broken(std::string& out, std::string_view text) {
  while (true) {
    const size_t good = valid_prefix(text);
    out += text.substr(0, good);
    if (good == text.size()) return;
    out += kReplacementText;
    text.remove_prefix(good + decode(text.substr(good)).length);
  }
}

size_t incomplete_tail(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const auto first = static_cast<unsigned char>(tail[0]);
    if (first < 0x80) return 0;
    if (first < 0xC0) continue;
    const Character c = decode(tail);
    return !c.valid && c.length == back && length_of(tail[0]) > back && first >= 0xC2 && first <= 0xF4 ? back : 0;
  }
  return 0;
}

}  // namespace conclave::utf8
