#include "data/tokenizer/ruby_property.h"

#include <fmt/core.h>

#include <utility>

namespace conclave {
namespace {

// White_Space, and all that is not: written out because PCRE2's own \s takes U+180E too.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside of brackets Oniguruma counts the superscript digits and fractions of Latin-1 as well.
constexpr std::string_view kMoreWord = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

// Folded names.
constexpr std::pair<std::string_view, std::string_view> kProperties[] = {
    {"letter", R"(\p{L})"},
    {"uppercaseletter", R"(\p{Lu})"},
    {"lowercaseletter", R"(\p{Ll})"},
    {"titlecaseletter", R"(\p{Lt})"},
    {"modifierletter", R"(\p{Lm})"},
    {"otherletter", R"(\p{Lo})"},
    {"mark", R"(\p{M})"},
    {"combiningmark", R"(\p{M})"},
    {"nonspacingmark", R"(\p{Mn})"},
    {"spacingmark", R"(\p{Mc})"},
    {"enclosingmark", R"(\p{Me})"},
    {"number", R"(\p{N})"},
    {"decimalnumber", R"(\p{Nd})"},
    {"digit", R"(\p{Nd})"},
    {"letternumber", R"(\p{Nl})"},
    {"othernumber", R"(\p{No})"},
    {"punctuation", R"(\p{P})"},
    {"connectorpunctuation", R"(\p{Pc})"},
    {"dashpunctuation", R"(\p{Pd})"},
    {"openpunctuation", R"(\p{Ps})"},
    {"closepunctuation", R"(\p{Pe})"},
    {"initialpunctuation", R"(\p{Pi})"},
    {"finalpunctuation", R"(\p{Pf})"},
    {"otherpunctuation", R"(\p{Po})"},
    {"symbol", R"(\p{S})"},
    {"mathsymbol", R"(\p{Sm})"},
    {"currencysymbol", R"(\p{Sc})"},
    {"modifiersymbol", R"(\p{Sk})"},
    {"othersymbol", R"(\p{So})"},
    {"separator", R"(\p{Z})"},
    {"spaceseparator", R"(\p{Zs})"},
    {"lineseparator", R"(\p{Zl})"},
    {"paragraphseparator", R"(\p{Zp})"},
    {"other", R"(\p{C})"},
    {"control", R"(\p{Cc})"},
    {"cntrl", R"(\p{Cc})"},
    {"format", R"(\p{Cf})"},
    {"unassigned", R"(\p{Cn})"},
    {"privateuse", R"(\p{Co})"},
    {"alphabetic", R"(\p{Alphabetic})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"uppercase", R"(\p{Uppercase})"},
    {"upper", R"(\p{Uppercase})"},
    {"lowercase", R"(\p{Lowercase})"},
    {"lower", R"(\p{Lowercase})"},
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"ideographic", R"(\p{Ideographic})"},
    {"emoji", R"(\p{Emoji})"},
    {"extendedpictographic", R"(\p{Extended_Pictographic})"},
    {"any", R"(\x{0}-\x{10ffff})"},
    {"ascii", R"(\x{0}-\x{7f})"},
    {"space", kSpace},
    {"whitespace", kSpace},
};

// Properties of Oniguruma whose members differ between its versions or have no spelling in PCRE2, and names of PCRE2's
// own.
constexpr std::string_view kRefused[] = {"punct", "graph", "print", "blank", "xdigit", "xposixpunct", "posixbracket",
                                         "xan",   "xsp",   "xps",   "xwd",   "xuc",    "lc",          "l&"};

bool is_category(std::string_view folded) {
  constexpr std::string_view kCategories =
      " c cc cf cn co l ll lm lo lt lu m mc me mn n nd nl no p pc pd pe pf pi po ps s sc sk sm so z zl zp zs ";
  return kCategories.find(fmt::format(" {} ", folded)) != std::string_view::npos;
}

}  // namespace

std::string ruby_word_set(RubyPlace place) {
  std::string items(kWord);
  if (place == RubyPlace::kPattern) items += kMoreWord;
  return items;
}

RubySet ruby_shorthand(char letter, RubyPlace place) {
  switch (letter) {
    case 's':
      return {std::string(kSpace)};
    case 'S':
      return {std::string(kNotSpace)};
    case 'w':
      return {ruby_word_set(place)};
    case 'W':
      return {ruby_word_set(place), true};
    case 'd':
      return {R"(\p{Nd})"};
    case 'D':
      return {R"(\P{Nd})"};
    case 'h':
      return {"0-9a-fA-F"};
    default:
      return {"0-9a-fA-F", true};
  }
}

std::optional<RubySet> ruby_property(std::string_view name, RubyPlace place) {
  std::string folded;
  for (const char c : name) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (c == ' ' || c == '_' || c == '-') continue;
    if (!upper && !(c >= 'a' && c <= 'z')) return std::nullopt;
    folded += static_cast<char>(upper ? c + 32 : c);
  }
  if (folded.empty()) return std::nullopt;
  for (const std::string_view refused : kRefused) {
    if (folded == refused) return std::nullopt;
  }
  if (folded == "word") return RubySet{ruby_word_set(place)};
  for (const auto& [known, items] : kProperties) {
    if (folded == known) return RubySet{std::string(items)};
  }
  if (is_category(folded)) {
    folded[0] = static_cast<char>(folded[0] - 32);
    return RubySet{fmt::format("\\p{{{}}}", folded)};
  }
  return RubySet{fmt::format("\\p{{sc:{}}}", folded)};
}

}  // namespace conclave
