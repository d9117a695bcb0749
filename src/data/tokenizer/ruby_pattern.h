// Patterns in tokenizer files are written in Oniguruma's Ruby syntax; PCRE2 reads some of it otherwise. This rewrites
// the part that tokenizers use so that both find the same words:
//  - \s \w \d and their negations by Unicode's White_Space, Alphabetic + M + Nd + Pc (and six of Latin-1), and Nd
//  (PCRE2's \s also takes U+180E);
//  - \p{Han} means the script, not its extensions;
//  - {n,m}+ repeats, it is not possessive; {n}? is optional, not lazy; {,n} is {0,n};
//  - (?m) is "dot matches all"; ^ and $ are at every line;
//  - classes may be nested and intersected: [a-z[0-9]], [\p{L}&&[^a-z]].
// Back references, named groups, conditions, recursion and whatever else is not known are refused by name (UserError).
#pragma once

#include <string>
#include <string_view>

namespace conclave {

std::string ruby_to_pcre2(std::string_view pattern);

}  // namespace conclave
