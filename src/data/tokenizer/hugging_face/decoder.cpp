#include "data/tokenizer/hugging_face/decoder.h"

#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/tokenizer/hugging_face/byte_level.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/hugging_face/pattern.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/utf8.h"

namespace conclave::hugging_face {
namespace {

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Decoder>> parts) : parts_(std::move(parts)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

class ByteLevel : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes, text;
    for (const std::string& token : tokens) {
      const auto spelled = bytes_of_letters(token);
      bytes += spelled ? *spelled : token;
    }
    utf8::append_replacing_broken(text, bytes);
    tokens.assign(1, std::move(text));
  }
};

// "<0x41>" as a byte.
std::optional<char> byte_of_token(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]);  // a sign is a number's, too
  const int low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

// A run of byte tokens that is valid UTF-8 becomes text; in any other run each token becomes U+FFFD.
class ByteFallback : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (utf8::is_valid(run)) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), std::string(utf8::kReplacementText));
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of_token(token)) {
        run += *byte;
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override { tokens.assign(1, join(tokens, "")); }
};

class Strip : public Decoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view text = token;
      for (int64_t i = 0; i < start_ && text.starts_with(content_); ++i) text.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && text.ends_with(content_); ++i) text.remove_suffix(content_.size());
      token = std::string(text);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class Replace : public Decoder {
 public:
  Replace(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      if (token.empty()) continue;
      std::string out;
      size_t end = 0;
      pattern_.for_each(token, [&](size_t begin, size_t stop) {
        out.append(token, end, begin - end);
        out += content_;
        end = stop;
      });
      out.append(token, end);
      token = std::move(out);
    }
  }

 private:
  Regex pattern_;
  std::string content_;
};

class Metaspace : public Decoder {
 public:
  Metaspace(std::string mark, bool drops_first) : mark_(std::move(mark)), drops_first_(drops_first) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], mark_, i == 0 && drops_first_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool drops_first_;
};

// Words end in a suffix that shows where blanks are.
class WordEnds : public Decoder {
 public:
  explicit WordEnds(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

std::unique_ptr<Decoder> make_metaspace(const Json& json, const std::string& where) {
  check_keys(json, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}, where);
  const std::string scheme =
      text_or(json, "prepend_scheme", flag_or(json, "add_prefix_space", true) ? "always" : "never");
  return std::make_unique<Metaspace>(one_character(json, "replacement", where), scheme != "never");
}

std::unique_ptr<Decoder> make_strip(const Json& json, const std::string& where) {
  check_keys(json, {"type", "content", "start", "stop"}, where);
  return std::make_unique<Strip>(one_character(json, "content", where), json.at("start").as_int(),
                                 json.at("stop").as_int());
}

std::unique_ptr<Decoder> make_sequence(const Json& json, const std::string& where) {
  check_keys(json, {"type", "decoders"}, where);
  std::vector<std::unique_ptr<Decoder>> parts;
  for (const Json& part : json.at("decoders").as_array()) {
    parts.push_back(make_decoder(part));
    CONCLAVE_USER_CHECK(parts.back() != nullptr, "{}: null inside", where);
  }
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = type_of(json, "decoder");
  const std::string where = "decoder " + type.substr(0, 60);
  if (type == "Sequence") return make_sequence(json, where);
  if (type == "ByteLevel") {
    check_keys(json, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, where);
    return std::make_unique<ByteLevel>();
  }
  if (type == "ByteFallback" || type == "Fuse") {
    check_keys(json, {"type"}, where);
    if (type == "Fuse") return std::make_unique<Fuse>();
    return std::make_unique<ByteFallback>();
  }
  if (type == "Strip") return make_strip(json, where);
  if (type == "Replace") {
    check_keys(json, {"type", "pattern", "content"}, where);
    return std::make_unique<Replace>(compile_pattern(json.at("pattern"), where), json.at("content").as_string());
  }
  if (type == "Metaspace") return make_metaspace(json, where);
  if (type == "BPEDecoder") {
    check_keys(json, {"type", "suffix"}, where);
    const std::string suffix = text_or(json, "suffix", "</w>");
    CONCLAVE_USER_CHECK(!suffix.empty(), "decoder BPEDecoder: the suffix is empty");
    return std::make_unique<WordEnds>(suffix);
  }
  refuse_type("decoder", type, "Sequence, ByteLevel, ByteFallback, Fuse, Strip, Replace, Metaspace, BPEDecoder");
}

}  // namespace conclave::hugging_face
