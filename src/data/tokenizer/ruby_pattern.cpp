#include "data/tokenizer/ruby_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "data/tokenizer/ruby_property.h"
#include "data/tokenizer/unsupported.h"
#include "data/tokenizer/utf8.h"

namespace conclave {
namespace {

constexpr size_t kMaxClassDepth = 50;

std::string literal_code(uint32_t code) {
  if ((code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z'))
    return std::string(1, static_cast<char>(code));
  return fmt::format("\\x{{{:x}}}", code);
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : in_(pattern) {
    CONCLAVE_USER_CHECK(utf8::is_valid(pattern), "pattern is not valid UTF-8");
  }

  std::string run() {
    groups_.push_back({});
    while (at_ < in_.size()) step();
    if (groups_.size() != 1) refuse("a group that is not closed");
    close_option_groups();
    return std::move(out_);
  }

 private:
  struct Group {
    size_t start = 0;          ///< where its text begins in out_
    size_t option_groups = 0;  ///< "(?i)" opened inside, which reach to its end
  };
  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  std::vector<Group> groups_;
  std::optional<size_t> atom_;  ///< where the last thing that can be repeated begins in out_

  [[noreturn]] void refuse(const std::string& what) const {
    throw UnsupportedTokenizer(
        fmt::format("pattern '{}': {} (at byte {}) is not supported", in_.substr(0, 200), what, at_));
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool take(std::string_view text) {
    if (!in_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  void emit_atom(const std::string& text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    switch (peek()) {
      case '(':
        return open_group();
      case ')':
        return close_group();
      case '[':
        ++at_;
        return emit_atom(parse_class(1));
      case '\\':
        return escape();
      case '*':
      case '+':
      case '?':
        return quantifier(1, false);
      case '{':
        if (const size_t length = interval_length(); length > 0) return quantifier(length, true);
        break;
      case '|':
        ++at_;
        out_ += '|';
        atom_.reset();
        return;
      case '.':
        ++at_;
        return emit_atom(".");
      case '^':
      case '$':
        out_ += in_[at_++];
        atom_.reset();
        return;
      default:
        break;
    }
    emit_atom(literal_code(take_character()));
  }

  uint32_t take_character() {
    const utf8::Character c = utf8::decode(in_.substr(at_));
    at_ += c.length;
    return c.code;
  }

  void open_group() {
    const size_t start = out_.size();
    if (take("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) refuse("a comment that is not closed");
      at_ = end + 1;
      return;
    }
    static constexpr std::string_view kPlain[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    for (const std::string_view head : kPlain) {
      if (!take(head)) continue;
      out_ += head;
      return push_group(start);
    }
    if (peek(1) == '*') refuse("the group '(*'");
    if (peek(1) != '?') {
      ++at_;
      out_ += "(?:";
      return push_group(start);
    }
    at_ += 2;
    option_group(start);
  }

  void push_group(size_t start) {
    groups_.push_back({start, 0});
    atom_.reset();
  }

  // "(?im-x:" or "(?im-x)"; the latter reaches to the end of the group around it, alternatives included.
  void option_group(size_t start) {
    std::string flags;
    bool minus = false;
    for (; peek() != ':' && peek() != ')'; ++at_) {
      const char c = peek();
      if (c == '-' && !minus) {
        minus = true;
        flags += '-';
      } else if (c == 'i') {
        flags += 'i';
      } else if (c == 'm') {
        flags += 's';
      } else {
        refuse(fmt::format("the group '(?{}'", std::string_view(in_).substr(at_, 1)));
      }
    }
    const bool isolated = peek() == ')';
    ++at_;
    out_ += fmt::format("(?{}:", flags);
    if (!isolated) return push_group(start);
    ++groups_.back().option_groups;
    atom_.reset();
  }

  void close_option_groups() { out_.append(groups_.back().option_groups, ')'); }

  void close_group() {
    if (groups_.size() == 1) refuse("a ')' without its '('");
    ++at_;
    close_option_groups();
    out_ += ')';
    atom_ = groups_.back().start;
    groups_.pop_back();
  }

  // Length of "{n}", "{n,}", "{n,m}" or "{,m}" here; 0: a brace that stands for itself.
  size_t interval_length() const {
    size_t i = at_ + 1, digits = 0, commas = 0;
    for (; i < in_.size() && in_[i] != '}'; ++i) {
      if (in_[i] == ',') {
        ++commas;
      } else if (in_[i] >= '0' && in_[i] <= '9') {
        ++digits;
      } else {
        return 0;
      }
    }
    return i < in_.size() && digits > 0 && commas <= 1 ? i + 1 - at_ : 0;
  }

  void quantifier(size_t length, bool interval) {
    if (!atom_) refuse("a repetition of nothing");
    const std::string_view text = in_.substr(at_, length);
    at_ += length;
    const bool exact = interval && text.find(',') == std::string_view::npos;
    if (text.starts_with("{,")) {
      out_ += "{0";
      out_ += text.substr(1);
    } else {
      out_ += text;
    }
    if (peek() == '?' && !exact) {
      out_ += in_[at_++];
    } else if ((peek() == '+' || peek() == '?') && interval) {  // applies to the whole repetition
      out_.insert(*atom_, "(?:");
      out_ += ')';
      out_ += in_[at_++];
    } else if (peek() == '+') {
      out_ += in_[at_++];
    }
    atom_.reset();
    if (peek() == '*' || peek() == '+' || peek() == '?') refuse("a repetition of a repetition");
  }

  void escape() {
    ++at_;
    if (at_ >= in_.size()) refuse("a backslash at the end");
    const char c = peek();
    if (c == 'A' || c == 'z' || c == 'Z') {
      ++at_;
      out_ += {'\\', c};
      atom_.reset();
    } else if (c == 'b' || c == 'B') {
      ++at_;
      const std::string word = fmt::format("[{}]", ruby_word_set(RubyPlace::kPattern));
      const std::string same = fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word);
      out_ += c == 'B' ? same : fmt::format("(?!{})", same);
      atom_.reset();
    } else if (const auto set = take_set(RubyPlace::kPattern)) {
      emit_atom(fmt::format("[{}{}]", set->negated ? "^" : "", set->items));
    } else {
      emit_atom(literal_code(take_escaped_code()));
    }
  }

  // After a backslash: \s \S \w \W \d \D \h \H \p{...} \P{...}, or nothing taken.
  std::optional<RubySet> take_set(RubyPlace place) {
    const char c = peek();
    if (std::string_view("sSwWdDhH").find(c) != std::string_view::npos) {
      ++at_;
      return ruby_shorthand(c, place);
    }
    if (c != 'p' && c != 'P') return std::nullopt;
    const size_t end = in_.find('}', at_);
    if (peek(1) != '{' || end == std::string_view::npos) refuse("\\p without {name}");
    std::string_view name = in_.substr(at_ + 2, end - at_ - 2);
    bool negated = c == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    std::optional<RubySet> set = ruby_property(name, place);
    if (!set) refuse(fmt::format("the property \\p{{{}}}", name.substr(0, 60)));
    at_ = end + 1;
    if (negated) set->negated = !set->negated;
    return set;
  }

  // After a backslash: one character.
  uint32_t take_escaped_code() {
    static constexpr std::pair<char, uint32_t> kControls[] = {{'t', 9},  {'n', 10}, {'v', 11}, {'f', 12},
                                                              {'r', 13}, {'a', 7},  {'e', 27}};
    const char c = peek();
    for (const auto& [name, code] : kControls) {
      if (c != name) continue;
      ++at_;
      return code;
    }
    if (c == 'x' && peek(1) == '{') {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) refuse("\\x{ that is not closed");
      const size_t start = at_ + 2;
      at_ = end + 1;
      return hexadecimal(in_.substr(start, end - start), 0x10FFFF);
    }
    if (c == 'x') return take_hexadecimal(2, 0x7F);  // above: a raw byte, which is no character
    if (c == 'u') return take_hexadecimal(4, 0xFFFF);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) refuse(fmt::format("\\{}", c));
    return take_character();
  }

  uint32_t take_hexadecimal(size_t digits, uint32_t most) {
    const std::string_view text = in_.substr(at_ + 1, digits);
    if (text.size() < digits) refuse("a short hexadecimal escape");
    at_ += 1 + digits;
    return hexadecimal(text, most);
  }

  uint32_t hexadecimal(std::string_view text, uint32_t most) const {
    uint32_t value = 0;
    if (text.empty() || text.size() > 8) refuse("this hexadecimal escape");
    for (const char c : text) {
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | (c >= 'A' ? 0x20 : 0)));
      if (digit == std::string_view::npos || value > 0x10FFFF) refuse("this hexadecimal escape");
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    if (value > most || (value >= 0xD800 && value < 0xE000)) refuse("this hexadecimal escape");
    return value;
  }

  // One side of && in a class: characters and ranges, and whole classes, each of which matches one character.
  struct Union {
    std::string items;
    std::vector<std::string> classes;
    bool empty() const { return items.empty() && classes.empty(); }
    std::string text() const {
      if (classes.empty()) return fmt::format("[{}]", items);
      const std::string first = items.empty() ? "" : fmt::format("[{}]|", items);
      return fmt::format("(?:{}{})", first, fmt::join(classes, "|"));
    }
  };

  // After "[" and past its "]": an expression that matches one character.
  std::string parse_class(size_t depth) {
    if (depth > kMaxClassDepth) refuse("so many nested classes");
    const bool negated = take("^");
    std::vector<Union> sides(1);
    while (true) {
      if (at_ >= in_.size()) refuse("a class that is not closed");
      if (take("]")) break;
      if (take("&&")) {
        sides.emplace_back();
      } else if (in_.substr(at_).starts_with("[:")) {
        refuse("a POSIX bracket");
      } else if (take("[")) {
        sides.back().classes.push_back(parse_class(depth + 1));
      } else {
        class_item(sides.back());
      }
    }
    for (const Union& side : sides) {
      if (side.empty()) refuse("an empty class");
    }
    if (sides.size() == 1 && sides[0].classes.empty()) return fmt::format("[{}{}]", negated ? "^" : "", sides[0].items);
    std::string result;
    for (size_t i = 0; i + 1 < sides.size(); ++i) result += fmt::format("(?={})", sides[i].text());
    result += sides.back().text();
    return negated ? fmt::format("(?:(?!{})(?s:.))", result) : fmt::format("(?:{})", result);
  }

  void class_item(Union& side) {
    uint32_t low = 0;
    if (take("\\")) {
      if (at_ >= in_.size()) refuse("a backslash at the end");
      if (const auto set = take_set(RubyPlace::kClass)) {
        if (set->negated) {
          side.classes.push_back(fmt::format("[^{}]", set->items));
        } else {
          side.items += set->items;
        }
        return;
      }
      low = peek() == 'b' ? (++at_, 8u) : take_escaped_code();
    } else {
      low = take_character();
    }
    side.items += literal_code(low);
    if (peek() != '-' || peek(1) == ']' || peek(1) == '\0' || peek(1) == '[') return;
    ++at_;
    uint32_t high = 0;
    if (take("\\")) {
      if (at_ >= in_.size() || std::string_view("sSwWdDhHpP").find(peek()) != std::string_view::npos)
        refuse("this range");
      high = take_escaped_code();
    } else {
      high = take_character();
    }
    if (high < low) refuse("a range that runs backwards");
    side.items += '-';
    side.items += literal_code(high);
  }
};

}  // namespace

std::string ruby_to_pcre2(std::string_view pattern) { return Rewriter(pattern).run(); }

}  // namespace conclave
