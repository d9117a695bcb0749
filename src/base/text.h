// Text: splitting, numbers with suffixes, human-readable amounts, nearest names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

std::vector<std::string> split(std::string_view text, char separator);
/// Splits at runs of white space, dropping empty pieces.
std::vector<std::string> split_words(std::string_view text);
std::string_view trim(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// Whole text as a number, else nothing.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);
/// An integer with an optional count suffix K M B T (powers of 1000) or byte suffix KiB MiB GiB TiB (powers of 1024).
std::optional<int64_t> parse_count(std::string_view text);

/// "1.5 GiB".
std::string human_bytes(int64_t bytes);
/// "46.7B", "1.2M".
std::string human_count(double count);
/// "1h 02m 03s", "4.2s".
std::string human_seconds(double seconds);

/// Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b);
/// Up to `count` of `known` nearest to `name` (edit distance, then shared words), nearest first; none that is far off.
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known, size_t count = 3);

}  // namespace conclave
