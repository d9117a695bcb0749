#include "trainer/text_table.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {

std::string text_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string> titles;
  std::vector<bool> right;
  std::vector<size_t> widths;
  for (const std::string& heading : headings) {
    right.push_back(heading.starts_with(">"));
    titles.push_back(heading.substr(right.back() ? 1 : 0));
    widths.push_back(titles.back().size());
  }
  for (const auto& row : rows) {
    CONCLAVE_CHECK_EQ(row.size(), titles.size(), "cells of a row");
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  const auto add_row = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string padding(widths[i] - cells[i].size(), ' ');
      if (i > 0) line += "  ";
      line += right[i] ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_row(titles);
  for (const auto& row : rows) add_row(row);
  return out;
}

}  // namespace conclave
