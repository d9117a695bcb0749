// A table for people.
#pragma once

#include <string>
#include <vector>

namespace conclave {

/// Rows of cells under a heading, each column as wide as its widest cell, two blanks apart. A column whose heading
/// begins with '>' is set to the right (the sign is not shown).
std::string text_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

}  // namespace conclave
