// Reading and writing the value of one row of the table.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "config/option_table.h"

namespace conclave {

/// The value as a person would type it; empty: not given or an empty list. Flags: "true" or "false".
std::string option_text(const Options& options, const OptionRow& row);
/// The value in its own type; null: not given.
Json option_json(const Options& options, const OptionRow& row);
bool option_is_default(const Options& options, const OptionRow& row);
/// Back to the default.
void reset_option(Options& options, const OptionRow& row);
void copy_option(const Options& from, Options& to, const OptionRow& row);

/// Stores `words` (one, or several for lists; none for an empty list) and returns nothing, or the text of what is wrong
/// with them. Rows without a field are only checked.
std::optional<std::string> assign_option(Options& options, const OptionRow& row, const std::vector<std::string>& words);

/// true/false, yes/no, on/off, 1/0.
std::optional<bool> parse_flag(std::string_view text);
/// A count with suffixes, or a float without a fraction such as 1e6.
std::optional<int64_t> parse_whole_number(std::string_view text);
/// A finite number.
std::optional<double> parse_finite(std::string_view text);
/// Pieces of "a b c", "a,b,c", "(a, b)", "[a, b]".
std::vector<std::string> list_pieces(std::string_view text);
/// Shortest text that reads back to the same value.
std::string number_text(double value);

}  // namespace conclave
