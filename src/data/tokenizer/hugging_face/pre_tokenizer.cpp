#include "data/tokenizer/hugging_face/pre_tokenizer.h"

#include <utility>

#include "base/error.h"
#include "data/tokenizer/hugging_face/byte_level.h"
#include "data/tokenizer/hugging_face/fields.h"
#include "data/tokenizer/hugging_face/pattern.h"
#include "data/tokenizer/hugging_face/split_behavior.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/unicode.h"

namespace conclave::hugging_face {
namespace {

constexpr std::string_view kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class Split : public PreTokenizer {
 public:
  enum class Meaning { kMatchSeparates, kMatchIsWord };
  Split(Regex regex, SplitBehavior behavior, Meaning meaning)
      : regex_(std::move(regex)), behavior_(behavior), match_flag_(meaning == Meaning::kMatchSeparates) {}

  void apply(Pieces& pieces) const override {
    std::vector<Stretch> stretches;
    pieces.split([&](std::string_view text, auto&& emit) {
      if (behavior_ == SplitBehavior::kIsolated) return isolate(text, emit);
      stretches.clear();
      size_t end = 0;
      regex_.for_each(text, [&](size_t begin, size_t stop) {
        if (end != begin) stretches.push_back({end, begin, !match_flag_});
        stretches.push_back({begin, stop, match_flag_});
        end = stop;
      });
      if (end != text.size()) stretches.push_back({end, text.size(), !match_flag_});
      merge_stretches(behavior_, stretches);
      for (const Stretch& stretch : stretches) emit(stretch.begin, stretch.end);
    });
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool match_flag_;

  template <typename Emit>
  void isolate(std::string_view text, Emit&& emit) const {
    size_t end = 0;
    regex_.for_each(text, [&](size_t begin, size_t stop) {
      emit(end, begin);
      emit(begin, stop);
      end = stop;
    });
    emit(end, text.size());
  }
};

class PrependBlank : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    pieces.rewrite([](std::string_view text, bool, std::string& out) {
      if (!text.starts_with(' ')) out += ' ';
      out += text;
    });
  }
};

class SpellBytes : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    pieces.rewrite([](std::string_view text, bool, std::string& out) { append_byte_letters(out, text); });
  }
};

enum class PrependScheme { kAlways, kFirst, kNever };

// Blanks become a visible mark, one is put in front, and words begin at marks.
class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string mark, PrependScheme scheme) : mark_(std::move(mark)), scheme_(scheme) {}
  void apply(Pieces& pieces) const override {
    pieces.rewrite([&](std::string_view text, bool at_origin, std::string& out) {
      const bool prepends = scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && at_origin);
      if (prepends && !text.starts_with(' ') && !text.starts_with(mark_)) out += mark_;
      for (const char c : text) {
        if (c == ' ') {
          out += mark_;
        } else {
          out += c;
        }
      }
    });
  }

 private:
  std::string mark_;
  PrependScheme scheme_;
};

class Maker {
 public:
  PreTokenizers made;

  void add(const Json& json) {
    if (made.bytes) {  // something follows a ByteLevel: it sees the letters
      made.steps.push_back(std::make_unique<SpellBytes>());
      made.bytes = false;
    }
    const std::string& type = type_of(json, "pre_tokenizer");
    const std::string where = "pre_tokenizer " + type.substr(0, 60);
    if (type == "Sequence") {
      check_keys(json, {"type", "pretokenizers"}, where);
      for (const Json& part : json.at("pretokenizers").as_array()) add(part);
    } else if (type == "ByteLevel") {
      add_byte_level(json, where);
    } else if (type == "Split") {
      add_split(json, where);
    } else if (type == "Metaspace") {
      add_metaspace(json, where);
    } else {
      add_simple(json, type, where);
    }
  }

 private:
  void split(Regex regex, SplitBehavior behavior, Split::Meaning meaning = Split::Meaning::kMatchSeparates) {
    made.steps.push_back(std::make_unique<Split>(std::move(regex), behavior, meaning));
  }

  void add_byte_level(const Json& json, const std::string& where) {
    check_keys(json, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, where);
    if (flag_or(json, "add_prefix_space", true)) made.steps.push_back(std::make_unique<PrependBlank>());
    if (flag_or(json, "use_regex", true)) split(Regex::from_ruby(kGpt2Words), SplitBehavior::kIsolated);
    made.bytes = true;
  }

  void add_split(const Json& json, const std::string& where) {
    check_keys(json, {"type", "pattern", "behavior", "invert"}, where);
    split(compile_pattern(json.at("pattern"), where), split_behavior(json.at("behavior").as_string()),
          flag_or(json, "invert", false) ? Split::Meaning::kMatchIsWord : Split::Meaning::kMatchSeparates);
  }

  void add_metaspace(const Json& json, const std::string& where) {
    check_keys(json, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"}, where);
    const std::string mark = one_character(json, "replacement", where);
    const std::string scheme =
        text_or(json, "prepend_scheme", flag_or(json, "add_prefix_space", true) ? "always" : "never");
    CONCLAVE_USER_CHECK(scheme == "always" || scheme == "first" || scheme == "never",
                        "{}: prepend_scheme must be always, first or never; got '{}'", where, scheme.substr(0, 60));
    CONCLAVE_USER_CHECK(flag_or(json, "add_prefix_space", true) || scheme == "never",
                        "{}: add_prefix_space is false but prepend_scheme is '{}'", where, scheme);
    made.steps.push_back(std::make_unique<Metaspace>(mark, scheme == "always"  ? PrependScheme::kAlways
                                                           : scheme == "first" ? PrependScheme::kFirst
                                                                               : PrependScheme::kNever));
    if (flag_or(json, "split", true)) split(Regex::literal(mark), SplitBehavior::kMergedWithNext);
  }

  void add_simple(const Json& json, const std::string& type, const std::string& where) {
    if (type == "Digits") {
      check_keys(json, {"type", "individual_digits"}, where);
      const bool single = flag_or(json, "individual_digits", false);
      split(Regex::from_ruby(R"(\p{N})"), single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
    } else if (type == "Whitespace") {
      check_keys(json, {"type"}, where);
      const std::string words =
          fmt::format("{0}+|[^{1}\\s]+", kWordCharacter, kWordCharacter.substr(1, kWordCharacter.size() - 2));
      split(Regex::from_ruby(words), SplitBehavior::kRemoved, Split::Meaning::kMatchIsWord);
    } else if (type == "WhitespaceSplit") {
      check_keys(json, {"type"}, where);
      split(Regex::from_ruby(R"(\s)"), SplitBehavior::kRemoved);
    } else if (type == "Punctuation") {
      check_keys(json, {"type", "behavior"}, where);
      split(Regex::from_ruby(R"([\p{P}$+<=>^`|~])"), split_behavior(text_or(json, "behavior", "Isolated")));
    } else {
      refuse_type("pre_tokenizer", type,
                  "Sequence, ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation");
    }
  }
};

}  // namespace

PreTokenizers make_pre_tokenizers(const Json& json) {
  Maker maker;
  if (!json.is_null()) maker.add(json);
  return std::move(maker.made);
}

}  // namespace conclave::hugging_face
