#include "data/tokenizer/hugging_face/bpe_model.h"

#include <algorithm>

#include "base/error.h"
#include "data/tokenizer/context.h"
#include "data/tokenizer/hugging_face/byte_level.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/space_mark.h"
#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {

BpeModel::BpeModel(const Json& json, Units units) : units_(units) {
  const std::string type = text_or(json, "type", "BPE");
  if (type != "BPE") refuse_type("model", type, "BPE");
  check_keys(json,
             {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
              "byte_fallback", "ignore_merges", "vocab", "merges"},
             "model BPE");
  if (const Json* dropout = json.find("dropout"); dropout != nullptr && !dropout->is_null()) {
    CONCLAVE_USER_CHECK(dropout->as_double() == 0, "model BPE: dropout {} is not supported; set it to null",
                        dropout->as_double());
  }
  prefix_ = text_or(json, "continuing_subword_prefix", "");
  suffix_ = text_or(json, "end_of_word_suffix", "");
  fuse_unknown_ = flag_or(json, "fuse_unk", false);
  byte_fallback_ = flag_or(json, "byte_fallback", false);
  whole_words_ = flag_or(json, "ignore_merges", false);
  read_vocabulary(json.at("vocab"));
  if (const std::string unknown = text_or(json, "unk_token", ""); !unknown.empty()) {
    unknown_ = vocabulary_.find(unknown);
    CONCLAVE_USER_CHECK(unknown_ >= 0, "model BPE: unk_token '{}' is not in the vocabulary", unknown.substr(0, 60));
  }
  // Characters that vanish would let marks on both sides of them meet.
  const bool keeps_unknown = unknown_ >= 0 || (byte_fallback_ && std::all_of(fallback_id_.begin(), fallback_id_.end(),
                                                                             [](int32_t id) { return id >= 0; }));
  cut_at_marks_ = units == Units::kCharacters && !whole_words_ && prefix_.empty() && suffix_.empty() && keeps_unknown &&
                  vocabulary_.find(kSpaceMark) >= 0;
  read_merges(json.at("merges"));
}

void BpeModel::read_vocabulary(const Json& json) {
  for (const auto& [text, id] : json.as_object()) {
    with_context("model BPE: vocab", [&, &name = text, &number = id] { vocabulary_.add(name, number.as_int()); });
  }
  for (int b = 0; b < 256; ++b) {
    const auto at = static_cast<size_t>(b);
    std::string letter;
    append_byte_letters(letter, std::string(1, static_cast<char>(b)));
    byte_symbol_[at] = vocabulary_.find(letter);
    fallback_id_[at] = vocabulary_.find(fmt::format("<0x{:02X}>", b));
  }
  if (!whole_words_ || units_ != Units::kBytes) return;
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const auto bytes = bytes_of_letters(vocabulary_.text(id));
    if (vocabulary_.has(id) && bytes) byte_words_.add_alias(*bytes, id);
  }
}

void BpeModel::read_merges(const Json& json) {
  const Json::Array& list = json.as_array();
  merges_ = MergeTable(static_cast<int64_t>(list.size()));
  for (size_t i = 0; i < list.size(); ++i) {
    with_context(fmt::format("model BPE: merge {}", i), [&] {
      const auto rank = narrow<int32_t>(i);
      if (list[i].is_array()) {
        CONCLAVE_USER_CHECK(list[i].size() == 2, "it has {} parts, not 2", list[i].size());
        return add_merge(list[i].at(0).as_string(), list[i].at(1).as_string(), rank);
      }
      const std::string_view line = list[i].as_string();
      if (line.starts_with("#version")) return;
      const size_t blank = line.find(' ');
      CONCLAVE_USER_CHECK(blank != std::string_view::npos && line.find(' ', blank + 1) == std::string_view::npos,
                          "'{}' is not two words", line.substr(0, 60));
      add_merge(line.substr(0, blank), line.substr(blank + 1), rank);
    });
  }
}

void BpeModel::add_merge(std::string_view left, std::string_view right, int32_t rank) {
  const auto known = [&](std::string_view text) {
    const int32_t id = vocabulary_.find(text);
    CONCLAVE_USER_CHECK(id >= 0, "'{}' is not in the vocabulary", text.substr(0, 60));
    return id;
  };
  const int32_t left_id = known(left), right_id = known(right);
  CONCLAVE_USER_CHECK(right.size() >= prefix_.size(), "'{}' does not begin with continuing_subword_prefix",
                      right.substr(0, 60));
  const std::string merged = std::string(left) + std::string(right.substr(prefix_.size()));
  merges_.set(left_id, right_id, {rank, known(merged)});
  if (cut_at_marks_ && has_inner_mark(merged)) cut_at_marks_ = false;
}

void BpeModel::encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  if (!cut_at_marks_) return encode_part(word, scratch, out);
  // No token holds a mark behind something else, so merges never cross such a border and the parts can be merged by
  // themselves.
  size_t begin = 0;
  while (begin < word.size()) {
    const size_t end = next_mark_border(word, begin);
    encode_part(word.substr(begin, end - begin), scratch, out);
    begin = end;
  }
}

void BpeModel::encode_part(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() > WordCache::kMaxWord) return encode_uncached(word, scratch, out);
  const WordCache::Place place = scratch.cache.find(word);
  if (place.found) {
    const std::span<const int32_t> ids = scratch.cache.ids(place);
    out.insert(out.end(), ids.begin(), ids.end());
    return;
  }
  const size_t start = out.size();
  encode_uncached(word, scratch, out);
  scratch.cache.insert(place, word, std::span<const int32_t>(out).subspan(start));
}

void BpeModel::encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  if (whole_words_) {
    const int32_t id = (units_ == Units::kBytes ? byte_words_ : vocabulary_).find(word);
    if (id >= 0) {
      out.push_back(id);
      return;
    }
  }
  scratch.symbols.clear();
  if (units_ == Units::kBytes) {
    add_bytes(word, scratch);
  } else {
    add_characters(word, scratch.symbols);
  }
  scratch.merger.apply(merges_, scratch.symbols);
  out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void BpeModel::add_bytes(std::string_view word, Scratch& scratch) const {
  bool plain = prefix_.empty() && suffix_.empty();
  for (size_t i = 0; plain && i < word.size(); ++i) {
    const int32_t symbol = byte_symbol_[static_cast<unsigned char>(word[i])];
    scratch.symbols.push_back(symbol);
    plain = symbol >= 0;
  }
  if (plain) return;
  scratch.symbols.clear();
  scratch.letters.clear();
  append_byte_letters(scratch.letters, word);
  add_characters(scratch.letters, scratch.symbols);
}

void BpeModel::add_characters(std::string_view word, std::vector<int32_t>& symbols) const {
  bool unknown_waits = false;
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const size_t length = utf8::length_of(word[at]);
    std::string_view text = word.substr(at, length);
    const bool first = at == 0, last = at + length >= word.size();
    at += length;
    if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
      decorated = (first ? "" : prefix_) + std::string(text) + (last ? suffix_ : "");
      text = decorated;
    }
    if (const int32_t id = vocabulary_.find(text); id >= 0) {
      if (unknown_waits) symbols.push_back(unknown_);
      unknown_waits = false;
      symbols.push_back(id);
    } else if (byte_fallback_ && add_fallback(text, symbols)) {
      continue;  // an unknown token that waits goes on waiting: it comes after the bytes
    } else if (unknown_ >= 0) {
      if (unknown_waits && !fuse_unknown_) symbols.push_back(unknown_);
      unknown_waits = true;
    }
  }
  if (unknown_waits) symbols.push_back(unknown_);
}

bool BpeModel::add_fallback(std::string_view text, std::vector<int32_t>& symbols) const {
  const size_t before = symbols.size();
  for (const char c : text) {
    const int32_t id = fallback_id_[static_cast<unsigned char>(c)];
    if (id < 0) {
      symbols.resize(before);
      return false;
    }
    symbols.push_back(id);
  }
  return true;
}

}  // namespace conclave::hugging_face
