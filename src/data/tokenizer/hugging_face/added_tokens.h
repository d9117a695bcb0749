// Tokens that are found as they stand in the text before it is cut into words: the "added_tokens" of a tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "data/tokenizer/byte_trie.h"
#include "data/tokenizer/hugging_face/normalizer.h"
#include "data/tokenizer/vocabulary.h"

namespace conclave::hugging_face {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  std::string normalized_content;  ///< content as the normalizer leaves it, where `normalized`; else content
  bool single_word = false;        ///< only where no word character stands next to it
  bool lstrip = false;             ///< takes the blanks before it
  bool rstrip = false;             ///< takes the blanks behind it
  bool normalized = true;          ///< looked for in the normalized text
  bool special = false;
};

/// A stretch of text between added tokens (id < 0), or one of them.
struct Segment {
  size_t begin, end;
  int32_t id;
};

class AddedTokens {
 public:
  /// `normalizer` may be nullptr. Throws UserError naming what is damaged.
  AddedTokens(const Json& json, const Vocabulary& vocabulary, const Normalizer* normalizer);

  /// Cuts a text at the tokens that are not normalized.
  void split_raw(std::string_view text, std::vector<Segment>& out) const { split(raw_, text, out); }
  /// Cuts a normalized text at the tokens that are.
  void split_normalized(std::string_view text, std::vector<Segment>& out) const { split(normalized_, text, out); }
  bool has_normalized() const { return !normalized_.trie.empty(); }

  /// nullptr if the id is none of these.
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  struct Matcher {
    ByteTrie trie;          ///< values: index into tokens_
    bool starts[256] = {};  ///< first bytes of tokens
    int single_start = -1;  ///< the one first byte, if there is only one
  };
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> index_of_id_;
  Matcher raw_, normalized_;

  void add(const Json& json, const Vocabulary& vocabulary, const Normalizer* normalizer);
  Matcher make_matcher(bool normalized) const;
  void split(const Matcher& matcher, std::string_view text, std::vector<Segment>& out) const;
  static size_t next_start(const Matcher& matcher, std::string_view text, size_t at);
};

}  // namespace conclave::hugging_face
