// The named sets of characters in Oniguruma's Ruby syntax, spelled for PCRE2.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace conclave {

/// What stands between the brackets of a PCRE2 class.
struct RubySet {
  std::string items;
  bool negated = false;
};

/// Where a set stands: in brackets \w has fewer members.
enum class RubyPlace { kPattern, kClass };

/// s S w W d D h H.
RubySet ruby_shorthand(char letter, RubyPlace place);
/// The set \w.
std::string ruby_word_set(RubyPlace place);
/// What \p{name} means; case, blanks, '_' and '-' do not matter. A name that is no category or property known here is
/// taken for a script; one that cannot be a script gives nothing.
std::optional<RubySet> ruby_property(std::string_view name, RubyPlace place);

}  // namespace conclave
