// Spellings that web pages and word processors make of options, and their cures.
#include <algorithm>

#include <fmt/core.h>

#include "base/text.h"
#include "config/parse.h"

namespace conclave {
namespace {

struct Lookalike {
  std::string_view bytes;
  std::string_view name;
};

constexpr Lookalike kDashes[] = {{"\u2013", "an en dash (U+2013)"},    {"\u2014", "an em dash (U+2014)"},
                                 {"\u2012", "a figure dash (U+2012)"}, {"\u2015", "a horizontal bar (U+2015)"},
                                 {"\u2212", "a minus sign (U+2212)"},  {"\u2010", "a Unicode hyphen (U+2010)"},
                                 {"\u2011", "a hard hyphen (U+2011)"}, {"\ufe63", "a small hyphen (U+FE63)"},
                                 {"\uff0d", "a wide hyphen (U+FF0D)"}};
constexpr Lookalike kQuotes[] = {{"\u201c", "a curly quote (U+201C)"},  {"\u201d", "a curly quote (U+201D)"},
                                 {"\u2018", "a curly quote (U+2018)"},  {"\u2019", "a curly quote (U+2019)"},
                                 {"\u00ab", "an angle quote (U+00AB)"}, {"\u00bb", "an angle quote (U+00BB)"}};
constexpr Lookalike kBlanks[] = {{"\u00a0", "a no-break space (U+00A0)"},
                                 {"\u200b", "a zero-width space (U+200B)"},
                                 {"\ufeff", "a byte-order mark (U+FEFF)"}};

// The word with every lookalike replaced; `found` is the first one met.
std::string replaced(std::string text, const Lookalike* begin, const Lookalike* end, std::string_view by,
                     std::string_view& found) {
  for (const Lookalike* look = begin; look != end; ++look) {
    if (text.find(look->bytes) == std::string::npos) continue;
    if (found.empty()) found = look->name;
    text = replace_all(text, look->bytes, by);
  }
  return text;
}

std::string with_two_dashes(std::string_view name) {
  const size_t start = std::min(name.find_first_not_of('-'), name.size());
  return "--" + std::string(name.substr(start));
}

}  // namespace

std::string pasted_spelling(std::string_view word) {
  const auto starts_with_any = [&](const auto& list) {
    return std::any_of(std::begin(list), std::end(list), [&](const Lookalike& l) { return word.starts_with(l.bytes); });
  };
  const bool option_like = word.starts_with("--") || starts_with_any(kDashes) || starts_with_any(kBlanks);
  std::string_view found;
  std::string cured(word);
  if (option_like) {
    cured = replaced(cured, std::begin(kDashes), std::end(kDashes), "-", found);
    cured = replaced(cured, std::begin(kBlanks), std::end(kBlanks), "", found);
    if (!found.empty()) {
      const std::string name = with_two_dashes(cured.substr(0, cured.find_first_of(":=")));
      return fmt::format("'{}' holds {}, as pasted from a web page; write {}", word, found, name);
    }
    if (const size_t colon = word.find(':'); colon != std::string_view::npos && word.find('=') > colon) {
      const std::string name = with_two_dashes(word.substr(0, colon));
      const FoundOption option = find_option(name);
      const std::string key = name.substr(2);
      const bool flag = option.row && option.row->type == OptionType::kFlag;
      return fmt::format("'{}' ends in a colon; write {} on the command line, or '{}: {}' in a file for --config", word,
                         flag ? name : name + " VALUE", key, flag ? "true" : "VALUE");
    }
  }
  if (starts_with_any(kQuotes)) {
    cured = replaced(cured, std::begin(kQuotes), std::end(kQuotes), "\"", found);
    return fmt::format("'{}' holds {}, as pasted from a web page; write {}", word, found, cured);
  }
  return {};
}

}  // namespace conclave
