#include "data/tokenizer/hugging_face/byte_level.h"

#include <array>

#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {
namespace {

constexpr uint32_t kLetters = 0x100 + 68;  // 68 bytes are not printable

struct Alphabet {
  std::array<uint32_t, 256> letter{};
  std::array<int16_t, kLetters> byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    const uint32_t letter = printable ? b : next++;
    alphabet.letter[b] = letter;
    alphabet.byte[letter] = static_cast<int16_t>(b);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

void append_byte_letters(std::string& out, std::string_view bytes) {
  for (const char c : bytes) utf8::append(out, kAlphabet.letter[static_cast<unsigned char>(c)]);
}

std::optional<std::string> bytes_of_letters(std::string_view letters) {
  std::string bytes;
  bytes.reserve(letters.size());
  while (!letters.empty()) {
    const utf8::Character c = utf8::decode(letters);
    if (!c.valid || c.code >= kLetters || kAlphabet.byte[c.code] < 0) return std::nullopt;
    bytes += static_cast<char>(kAlphabet.byte[c.code]);
    letters.remove_prefix(c.length);
  }
  return bytes;
}

}  // namespace conclave::hugging_face
