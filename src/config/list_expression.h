// List expressions of options such as --moe-layer-freq "([0]*3+[1]*58)".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

/// Grammar: sum = product ('+' product)*; product = factor ('*' factor)*; factor = '(' sum ')' | '[' items ']' |
/// number. Lists add by concatenation and multiply by a number; numbers add and multiply as numbers. The result must be
/// a list of at most `max_length` integers. Throws UserError "WHAT: ..." with the place of the fault.
std::vector<int64_t> parse_list_expression(std::string_view text, std::string_view what, int64_t max_length = 1 << 20);

/// Which of `num_layers` layers have the property: text "N" means layer i (0-based) iff i % N == 0; a list names each
/// layer by 1 or 0 and must have num_layers entries. Throws UserError on anything else.
std::vector<bool> every_nth_layer(std::string_view text, int64_t num_layers, std::string_view what);

}  // namespace conclave
