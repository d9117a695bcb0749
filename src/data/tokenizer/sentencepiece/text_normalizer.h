// What SentencePiece does to a text before it is segmented: character rules, extra blanks, a blank in front, blanks
// made visible.
#pragma once

#include <string>
#include <string_view>

#include "data/tokenizer/byte_trie.h"
#include "data/tokenizer/sentencepiece/charsmap.h"
#include "data/tokenizer/sentencepiece/model_file.h"

namespace conclave::sentencepiece {

class TextNormalizer {
 public:
  enum class DummyBlank { kInFront, kBehind };
  /// `kept` holds texts that no rule changes (may be empty); it must outlive this object.
  TextNormalizer(const NormalizerSpec& spec, DummyBlank dummy, const ByteTrie& kept);

  /// Replaces `out` by the normalized text, which is valid UTF-8 whatever `text` is.
  void apply(std::string_view text, std::string& out) const;

 private:
  Charsmap rules_;
  bool dummy_, squeeze_;
  std::string_view blank_;  ///< what a blank becomes
  DummyBlank where_;
  const ByteTrie& kept_;

  Charsmap::Step next(std::string_view text) const;
  void append(std::string_view text, std::string& out) const;
};

}  // namespace conclave::sentencepiece
