// What each class of options does, for every row.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/option_value.h"
#include "config/validate.h"

namespace conclave {
namespace {

// A value of the row that is not its default.
std::vector<std::string> other_value(const OptionRow& row) {
  if (!row.choices.empty()) {
    for (const std::string& choice : row.choices) {
      if (choice != row.default_text) return {choice};
    }
  }
  switch (row.type) {
    case OptionType::kFlag:
      return {row.default_text == "true" ? "false" : "true"};
    case OptionType::kInt:
      if (row.maximum.value_or(9) < 7) return {row.default_text == "1" ? "2" : "1"};
      return {row.default_text == "7" ? "8" : "7"};
    case OptionType::kFloat:
      return {row.default_text == "0.25" ? "0.5" : "0.25"};
    case OptionType::kString:
      return {"something"};
    case OptionType::kIntList:
      return std::vector<std::string>(std::max<size_t>(row.min_count, 1), "7");
    case OptionType::kFloatList:
      return {"0.25"};
    case OptionType::kStringList:
      return {"something"};
  }
  return {};
}

ParsedOptions given(const OptionRow& row, const std::vector<std::string>& words) {
  std::vector<std::string> line = {row.type == OptionType::kFlag ? "--" + row.key + "=" + words[0] : "--" + row.key};
  if (row.type != OptionType::kFlag) line.insert(line.end(), words.begin(), words.end());
  return parse_command_line(Command::kTrain, line);
}

TEST(OptionClasses, UnavailableAreRefusedByName) {
  int count = 0;
  for (const OptionRow& row : option_table()) {
    if (row.status != OptionClass::kUnavailable) continue;
    ++count;
    const auto texts = unavailable_options(given(row, other_value(row)));
    ASSERT_EQ(texts.size(), 1u) << row.key;
    EXPECT_TRUE(texts[0].starts_with("--" + row.key + " is not available yet: " + row.feature)) << texts[0];
  }
  EXPECT_GT(count, 300);
}

TEST(OptionClasses, UnavailableAreFineWhenTheySayOff) {
  for (const OptionRow& row : option_table()) {
    if (row.status != OptionClass::kUnavailable) continue;
    if (row.default_text.empty() && row.type != OptionType::kFlag) continue;
    const auto parsed = given(row, {row.default_text.empty() ? "false" : row.default_text});
    EXPECT_TRUE(unavailable_options(parsed).empty()) << row.key;
  }
}

TEST(OptionClasses, UnbuiltValuesAreRefusedByName) {
  for (const OptionRow& row : option_table()) {
    if (row.status == OptionClass::kUnavailable) continue;
    for (const UnbuiltChoice& choice : row.unbuilt) {
      const auto texts = unavailable_options(given(row, {choice.value}));
      ASSERT_EQ(texts.size(), 1u) << row.key;
      EXPECT_TRUE(texts[0].starts_with("--" + row.key + " " + choice.value + " is not available yet: ")) << texts[0];
    }
  }
}

TEST(OptionClasses, NotActiveAreAcceptedAndListed) {
  int count = 0;
  for (const OptionRow& row : option_table()) {
    if (row.status != OptionClass::kNotActive) continue;
    ++count;
    const ParsedOptions parsed = given(row, other_value(row));
    EXPECT_TRUE(unavailable_options(parsed).empty()) << row.key;
    EXPECT_EQ(inactive_summary(parsed), "not active, results are the same: --" + row.key);
  }
  EXPECT_GT(count, 150);
}

// An option that works is read by some room, or tests/config/not_read.txt says why not.
TEST(OptionClasses, WorkingOptionsAreReadSomewhere) {
  const std::string source = CONCLAVE_SOURCE_DIR;
  std::set<std::string> words;
  const std::regex member(R"([.>]([a-z0-9_]+))");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source + "/src")) {
    if (!entry.is_regular_file() || entry.path().string().starts_with(source + "/src/config/")) continue;
    const std::string text = read_file(entry.path());
    for (auto it = std::sregex_iterator(text.begin(), text.end(), member); it != std::sregex_iterator(); ++it) {
      words.insert((*it)[1]);
    }
  }
  std::set<std::string> excused;
  for (const std::string& line : split(read_file(source + "/tests/config/not_read.txt"), '\n')) {
    const auto parts = split_words(line);
    if (parts.empty()) continue;
    EXPECT_GT(parts.size(), 2u) << line << ": a reason is missing";
    EXPECT_EQ(option_row(parts[0]).status, OptionClass::kWorks) << parts[0];
    excused.insert(parts[0]);
  }
  for (const OptionRow& row : option_table()) {
    if (row.status != OptionClass::kWorks || excused.contains(row.key)) continue;
    EXPECT_TRUE(words.contains(replace_all(row.key, "-", "_"))) << "--" << row.key << " works, but nobody reads it";
  }
}

TEST(OptionClasses, WorkingOptionsReachTheirField) {
  int count = 0;
  for (const OptionRow& row : option_table()) {
    if (row.status != OptionClass::kWorks) continue;
    Options options;
    std::vector<std::string> words = other_value(row);
    if (row.type == OptionType::kFloat && row.minimum.value_or(0) >= 1) words = {"2"};
    EXPECT_EQ(assign_option(options, row, words), std::nullopt) << row.key;
    EXPECT_FALSE(option_is_default(options, row)) << row.key;
    reset_option(options, row);
    EXPECT_TRUE(option_is_default(options, row)) << row.key;
    ++count;
  }
  EXPECT_GT(count, 150);
}

}  // namespace
}  // namespace conclave
