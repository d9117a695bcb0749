// Regular expressions over UTF-8, compiled to machine code by PCRE2. Thread-safe after construction.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace conclave {

class Regex {
 public:
  /// `pattern` in the syntax of tokenizer files (see ruby_pattern.h). Throws UserError naming what it cannot do.
  static Regex from_ruby(std::string_view pattern);
  /// Matches `text` itself.
  static Regex literal(std::string_view text);

  struct Match {
    size_t begin = 0, end = 0;
  };
  /// The first match that starts at `from` or later; `text` must be valid UTF-8 and `from` a character border. Throws
  /// UserError if the pattern needs more backtracking than a sane one.
  bool find(std::string_view text, size_t from, Match& match) const;

  /// Calls fn(begin, end) for every match from left to right; an empty match right behind the last one is passed over.
  template <typename Fn>
  void for_each(std::string_view text, Fn&& fn) const {
    Match match;
    size_t from = 0;
    bool any = false;
    size_t last_end = 0;
    while (from <= text.size() && find(text, from, match)) {
      if (match.begin == match.end && any && match.begin == last_end) {
        from = next_character(text, from);
        continue;
      }
      from = last_end = match.end;
      any = true;
      fn(match.begin, match.end);
    }
  }

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  Regex(std::string_view pattern, std::string_view shown, bool literal);
  static size_t next_character(std::string_view text, size_t at);
};

}  // namespace conclave
