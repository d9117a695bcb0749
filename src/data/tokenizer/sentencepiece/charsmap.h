// The compiled character rules of a SentencePiece model ("precompiled_charsmap"): a double array of source texts, whose
// values point into a list of replacements, each ended by a zero byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::sentencepiece {

class Charsmap {
 public:
  /// No rules.
  Charsmap() = default;
  /// Throws UserError if the blob is damaged.
  explicit Charsmap(std::string_view blob);

  struct Step {
    std::string_view text;  ///< what stands there after the rules
    size_t length;          ///< bytes of input that it replaces, at least 1
  };
  /// The longest rule that applies at the start of `text` (not empty), else its first character; a byte that begins no
  /// character becomes U+FFFD. Throws UserError where the rules turn out damaged.
  Step next(std::string_view text) const {
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x80 && plain_[first] && (text.size() == 1 || static_cast<unsigned char>(text[1]) < 0x80)) {
      return {text.substr(0, 1), 1};
    }
    return look_up(text);
  }

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
  /// Characters of ASCII that stay as they are when another one follows: no rule is only this, none begins with this
  /// and goes on in ASCII.
  std::array<bool, 128> plain_ = all_plain();

  static constexpr std::array<bool, 128> all_plain() {
    std::array<bool, 128> plain{};
    plain.fill(true);
    return plain;
  }
  struct Node {
    bool there;
    size_t position;  ///< where children are, each at position ^ byte
    bool leaf;
    uint32_t value;
  };
  Node child(size_t position, unsigned char byte) const;
  size_t root() const;
  Step look_up(std::string_view text) const;
  bool is_plain(unsigned char first) const;
};

}  // namespace conclave::sentencepiece
