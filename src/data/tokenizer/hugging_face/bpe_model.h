// The byte-pair model of a tokenizer.json: words to ids.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "data/tokenizer/merges.h"
#include "data/tokenizer/vocabulary.h"
#include "data/tokenizer/word_cache.h"

namespace conclave::hugging_face {

class BpeModel {
 public:
  /// What words are made of: characters as the vocabulary spells them, or raw bytes that it spells in the byte-level
  /// alphabet.
  enum class Units { kCharacters, kBytes };

  /// Throws UserError naming what is damaged or not supported.
  BpeModel(const Json& json, Units units);

  /// One thread's working memory.
  struct Scratch {
    WordCache cache;
    Merger merger;
    std::vector<int32_t> symbols;
    std::string letters;
  };
  /// Appends the ids of one word of valid UTF-8, or of any bytes (Units::kBytes).
  void encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Units units_;
  Vocabulary vocabulary_;
  Vocabulary byte_words_;  ///< raw bytes -> id, where whole words are looked up and units are bytes
  MergeTable merges_;
  std::string prefix_, suffix_;  ///< of characters inside a word, of its last character
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false, byte_fallback_ = false, whole_words_ = false;
  bool cut_at_marks_ = false;
  std::array<int32_t, 256> byte_symbol_{};  ///< id of a byte's letter, -1 if there is none
  std::array<int32_t, 256> fallback_id_{};  ///< id of "<0x..>", -1 if there is none

  void read_vocabulary(const Json& json);
  void read_merges(const Json& json);
  void add_merge(std::string_view left, std::string_view right, int32_t rank);
  void encode_part(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;
  void add_bytes(std::string_view word, Scratch& scratch) const;
  void add_characters(std::string_view word, std::vector<int32_t>& symbols) const;
  bool add_fallback(std::string_view text, std::vector<int32_t>& symbols) const;
};

}  // namespace conclave::hugging_face
