#include "data/tokenizer/ruby_pattern.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "data/tokenizer/regex.h"

namespace conclave {
namespace {

using Found = std::vector<std::string>;

Found matches(const std::string& pattern, const std::string& text) {
  Found found;
  Regex::from_ruby(pattern).for_each(
      text, [&](size_t begin, size_t end) { found.push_back(text.substr(begin, end - begin)); });
  return found;
}

std::string error_of(const std::string& pattern) {
  try {
    Regex::from_ruby(pattern);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(RubyPattern, WhiteSpaceIsUnicodes) {
  for (const char* blank : {"\t", "\n", " ", "\xC2\x85", "\xC2\xA0", "\xE2\x80\xA8", "\xE3\x80\x80"}) {
    EXPECT_EQ(matches("\\s", blank), Found{blank});
    EXPECT_EQ(matches("[^\\S]", blank), Found{blank});
    EXPECT_EQ(matches("\\S", blank), Found{});
  }
  for (const char* other : {"\x1C", "\x1F", "\xE1\xA0\x8E", "\xE2\x80\x8B", "\xEF\xBB\xBF"}) {
    EXPECT_EQ(matches("\\s", other), Found{});
    EXPECT_EQ(matches("[\\S]", other), Found{other});
  }
}

TEST(RubyPattern, CaseFoldingReachesTheLongS) {
  EXPECT_EQ(matches("(?i:'s|'k)", "'s 'S '\u017F '\u212A"), (Found{"'s", "'S", "'\u017F", "'\u212A"}));
  EXPECT_EQ(matches("'s", "'S '\u017F"), Found{});
}

TEST(RubyPattern, WordCharactersDifferInBrackets) {
  EXPECT_EQ(matches("\\w+", "a\u00B2_\u0301\u24B6-"), (Found{"a\u00B2_\u0301\u24B6"}));
  EXPECT_EQ(matches("[\\w]+", "a\u00B2b"), (Found{"a", "b"}));
  EXPECT_EQ(matches("\\ba|b\\B", "a ba bb"), (Found{"a", "b", "b"}));
}

TEST(RubyPattern, IntervalsAreNeverPossessiveNorLazyByAccident) {
  EXPECT_EQ(matches("\\d{1,2}+3", "1233"), (Found{"1233"}));  // (?:\d{1,2})+ gives one digit back
  EXPECT_EQ(matches("a{2}?b", "aab b"), (Found{"aab", "b"}));
  EXPECT_EQ(matches("a{,2}b", "aaab"), (Found{"aab"}));
  EXPECT_EQ(matches("a{1,3}?", "aaa"), (Found{"a", "a", "a"}));
  EXPECT_EQ(matches("\\d++3|x", "1233x"), (Found{"x"}));
  EXPECT_EQ(matches("{a}|b{x", "{a}b{x"), (Found{"{a}", "b{x"}));
}

TEST(RubyPattern, OptionsReachToTheEndOfTheirGroup) {
  EXPECT_EQ(matches("a(?i)b|c", "aB aC ac C"), (Found{"aB", "aC", "ac"}));
  EXPECT_EQ(matches("(?:(?i)b)c", "Bc BC"), (Found{"Bc"}));
  EXPECT_EQ(matches("(?m:a.)", "a\n"), (Found{"a\n"}));
  EXPECT_EQ(matches("a.", "a\nab"), (Found{"ab"}));
  EXPECT_EQ(matches("^b$", "a\nb\nc"), (Found{"b"}));
}

TEST(RubyPattern, ClassesNestAndIntersect) {
  EXPECT_EQ(matches("[a-c[x-z]]+", "abzm"), (Found{"abz"}));
  EXPECT_EQ(matches("[\\p{L}&&[^a-m]]+", "anzb"), (Found{"nz"}));
  EXPECT_EQ(matches("[^a[bc]&&[^d]]", "abcd"), (Found{"d"}));  // not in {a,b,c} and {not d}
  EXPECT_EQ(matches("[\\-\\]a]", "-]ab"), (Found{"-", "]", "a"}));
}

TEST(RubyPattern, ScriptsAreNotTheirExtensions) {
  EXPECT_EQ(matches("\\p{Han}", "\u6F22\u3006\u3001"), (Found{"\u6F22"}));  // U+3001 is used with Han, and is Common
  EXPECT_EQ(matches("\\p{^L}", "a1"), (Found{"1"}));
  EXPECT_EQ(matches("\\p{Uppercase_Letter}\\P{L}", "A1 AB"), (Found{"A1"}));
}

TEST(RubyPattern, EmptyMatchesMoveOn) {
  EXPECT_EQ(matches("x*", "axé"), (Found{"", "x", ""}));
  EXPECT_EQ(matches("", "é"), (Found{"", ""}));
}

TEST(RubyPattern, RefusesByName) {
  EXPECT_NE(error_of("(?<name>a)").find("the group '(?<'"), std::string::npos) << error_of("(?<name>a)");
  EXPECT_NE(error_of("\\k<n>").find("\\k"), std::string::npos);
  EXPECT_NE(error_of("a**").find("repetition of a repetition"), std::string::npos);
  EXPECT_NE(error_of("*a").find("repetition of nothing"), std::string::npos);
  EXPECT_NE(error_of("[[:alpha:]]").find("POSIX bracket"), std::string::npos);
  EXPECT_NE(error_of("\\p{Punct}").find("the property \\p{Punct}"), std::string::npos);
  EXPECT_NE(error_of("\\p{Klingon}").find("\\p{Klingon}"), std::string::npos);
  for (const char* broken : {"(a", "a)", "[a", "[]", "[a&&]", "a\\", "\\x{110000}", "\\xFF", "[b-a]", "\\u00", "(?",
                             "(?i", "(*ANY)", "\xFF"}) {
    EXPECT_NE(error_of(broken), "no error") << broken;
  }
  const std::string deep(400, '(');
  EXPECT_NE(error_of(deep + "a" + std::string(400, ')')), "no error");
  EXPECT_NE(error_of(std::string(400, '[') + "a" + std::string(400, ']')), "no error");
}

TEST(Regex, GivesUpOnPatternsThatWouldRunForEver) {
  const Regex regex = Regex::from_ruby("(?:a+)+[bc]");
  Regex::Match match;
  EXPECT_THROW(regex.find(std::string(60, 'a'), 0, match), UserError);
}

TEST(Regex, LiteralsHaveNoSyntax) {
  Found found;
  const std::string text = "a.b axb";
  Regex::literal("a.b").for_each(text,
                                 [&](size_t begin, size_t end) { found.push_back(text.substr(begin, end - begin)); });
  EXPECT_EQ(found, (Found{"a.b"}));
}

}  // namespace
}  // namespace conclave
