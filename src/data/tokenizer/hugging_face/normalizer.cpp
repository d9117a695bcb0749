#include "data/tokenizer/hugging_face/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/tokenizer/hugging_face/byte_level.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/hugging_face/pattern.h"
#include "data/tokenizer/unicode.h"
#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(NormalizedText& input) const override {
    for (const auto& part : parts_) part->apply(input);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

// NFC, NFD, NFKC, NFKD: Unicode Standard Annex 15.
class NormalForm : public Normalizer {
 public:
  explicit NormalForm(int options) : options_(options | UTF8PROC_STABLE) {}
  void apply(NormalizedText& input) const override {
    if (is_ascii(input.text)) return;
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(input.text.data()),
                                               static_cast<utf8proc_ssize_t>(input.text.size()), &result,
                                               static_cast<utf8proc_option_t>(options_));
    CONCLAVE_USER_CHECK(size >= 0, "[data/tokenizer] text cannot be normalized: {}", utf8proc_errmsg(size));
    input.text.assign(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
    std::free(result);
  }

 private:
  int options_;
};

// Maps every character by itself.
class CharacterMap : public Normalizer {
 public:
  using Function = void (*)(uint32_t code, std::string& out);
  explicit CharacterMap(Function function) : function_(function) {}
  void apply(NormalizedText& input) const override {
    std::string out;
    out.reserve(input.text.size());
    bool first = true;
    for (std::string_view rest = input.text; !rest.empty(); first = false) {
      const utf8::Character c = utf8::decode(rest);
      const size_t before = out.size();
      function_(c.code, out);
      if (first && out.size() == before) input.at_origin = false;
      rest.remove_prefix(c.length);
    }
    input.text = std::move(out);
  }

 private:
  Function function_;
};

void lower_case(uint32_t code, std::string& out) {
  if (code == 0x130) {  // the one character whose lower case is two
    out += "i\xCC\x87";
  } else {
    utf8::append(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
  }
}

void drop_marks(uint32_t code, std::string& out) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  if (category != UTF8PROC_CATEGORY_MN && category != UTF8PROC_CATEGORY_MC && category != UTF8PROC_CATEGORY_ME)
    utf8::append(out, code);
}

// The character rules of neural machine translation corpora: most control characters vanish, odd blanks become blanks.
void nmt_rules(uint32_t code, std::string& out) {
  const bool dropped = (code >= 1 && code <= 8) || code == 0xB || (code >= 0xE && code <= 0x1F) || code == 0x7F ||
                       code == 0x8F || code == 0x9F;
  if (dropped) return;
  const bool blank = code == 9 || code == 0xA || code == 0xC || code == 0xD || code == 0x1680 ||
                     (code >= 0x200B && code <= 0x200F) || code == 0x2028 || code == 0x2029 || code == 0x2581 ||
                     code == 0xFEFF || code == 0xFFFD;
  utf8::append(out, blank ? ' ' : code);
}

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& input) const override {
    if (right_) input.text.resize(input.text.size() - blank_suffix(input.text));
    const size_t blanks = left_ ? blank_prefix(input.text) : 0;
    if (blanks > 0) input.at_origin = false;
    input.text.erase(0, blanks);
  }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string text) : text_(std::move(text)) {}
  void apply(NormalizedText& input) const override {
    if (!input.text.empty()) input.text.insert(0, text_);
  }

 private:
  std::string text_;
};

class Replace : public Normalizer {
 public:
  Replace(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(NormalizedText& input) const override {
    std::string out;
    size_t end = 0;
    pattern_.for_each(input.text, [&](size_t begin, size_t stop) {
      // New text counts as coming from the last character that it replaces.
      if (begin == 0 && stop > 0 && (content_.empty() || utf8::length_of(input.text[0]) < stop))
        input.at_origin = false;
      out.append(input.text, end, begin - end);
      out += content_;
      end = stop;
    });
    out.append(input.text, end);
    input.text = std::move(out);
  }

 private:
  Regex pattern_;
  std::string content_;
};

class ByteLevel : public Normalizer {
 public:
  void apply(NormalizedText& input) const override {
    std::string out;
    append_byte_letters(out, input.text);
    input.text = std::move(out);
  }
};

constexpr std::string_view kKnown =
    "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Nmt, Replace, Prepend, ByteLevel";

std::unique_ptr<Normalizer> make_plain(const std::string& type) {
  if (type == "NFC") return std::make_unique<NormalForm>(UTF8PROC_COMPOSE);
  if (type == "NFD") return std::make_unique<NormalForm>(UTF8PROC_DECOMPOSE);
  if (type == "NFKC") return std::make_unique<NormalForm>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (type == "NFKD") return std::make_unique<NormalForm>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  if (type == "Lowercase") return std::make_unique<CharacterMap>(lower_case);
  if (type == "StripAccents") return std::make_unique<CharacterMap>(drop_marks);
  if (type == "Nmt") return std::make_unique<CharacterMap>(nmt_rules);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  return nullptr;
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = type_of(json, "normalizer");
  const std::string where = "normalizer " + type.substr(0, 60);
  if (type == "Sequence") {
    check_keys(json, {"type", "normalizers"}, where);
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (const Json& part : json.at("normalizers").as_array()) {
      parts.push_back(make_normalizer(part));
      CONCLAVE_USER_CHECK(parts.back() != nullptr, "normalizer Sequence: null inside");
    }
    return std::make_unique<Sequence>(std::move(parts));
  }
  if (auto plain = make_plain(type)) {
    check_keys(json, {"type"}, where);
    return plain;
  }
  if (type == "Strip") {
    check_keys(json, {"type", "strip_left", "strip_right"}, where);
    return std::make_unique<Strip>(json.at("strip_left").as_bool(), json.at("strip_right").as_bool());
  }
  if (type == "Prepend") {
    check_keys(json, {"type", "prepend"}, where);
    return std::make_unique<Prepend>(json.at("prepend").as_string());
  }
  if (type == "Replace") {
    check_keys(json, {"type", "pattern", "content"}, where);
    return std::make_unique<Replace>(compile_pattern(json.at("pattern"), where), json.at("content").as_string());
  }
  refuse_type("normalizer", type, kKnown);
}

}  // namespace conclave::hugging_face
