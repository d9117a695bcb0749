// U+2581, the visible mark that vocabularies write for a blank, and where texts may be cut at it.
#pragma once

#include <cstddef>
#include <string_view>

namespace conclave {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

/// The next place after `begin` where a mark follows something that is no mark, or the end of the text.
inline size_t next_mark_border(std::string_view text, size_t begin) {
  while (begin < text.size() && text.substr(begin).starts_with(kSpaceMark)) begin += kSpaceMark.size();
  const size_t next = text.find(kSpaceMark, begin);
  return next == std::string_view::npos ? text.size() : next;
}

/// Whether a mark stands behind something that is no mark: such a token reaches over a border.
inline bool has_inner_mark(std::string_view text) { return next_mark_border(text, 0) < text.size(); }

}  // namespace conclave
