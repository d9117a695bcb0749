// The pages made from the table, and docs/status.md, which is held to it.
#include "config/reference.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "config/option_table.h"

namespace conclave {
namespace {

const std::string kSource = CONCLAVE_SOURCE_DIR;

TEST(Reference, DocsAreUpToDate) {
  const std::string path = kSource + "/docs/options.md";
  const std::string fresh = options_reference_markdown();
  if (std::getenv("CONCLAVE_UPDATE_DOCS") != nullptr) write_file_atomically(path, fresh);
  ASSERT_TRUE(file_exists(path));
  EXPECT_TRUE(read_file(path) == fresh)
      << "docs/options.md is stale; make it anew: CONCLAVE_UPDATE_DOCS=1 build/cpu/tests/config_test "
         "--gtest_filter=Reference.DocsAreUpToDate";
}

TEST(Reference, NamesEveryOption) {
  const std::string page = options_reference_markdown();
  for (const OptionRow& row : option_table()) {
    EXPECT_NE(page.find("| `--" + row.key + "` |"), std::string::npos) << row.key;
  }
}

TEST(Help, ShowsWhatBelongsToACommand) {
  const std::string train = command_help(Command::kTrain);
  EXPECT_TRUE(train.starts_with("usage: conclave train"));
  for (const char* part : {"--num-layers N", "--disable-bias-linear", "--moe-router-topk N",
                           "given twice, the last wins", "Mixture of experts:", "One of: adam, sgd. [adam]"}) {
    EXPECT_NE(train.find(part), std::string::npos) << part;
  }
  for (const char* part : {"--prompt", "--fp8-format", "--manual-gc", "muon"}) {
    EXPECT_EQ(train.find(part), std::string::npos) << part;
  }
  EXPECT_NE(command_help(Command::kGenerate).find("--top-p X"), std::string::npos);
  EXPECT_EQ(command_help(Command::kGenerate).find("--lr "), std::string::npos);
}

struct StatusRow {
  std::string subject;
  std::string state;
  std::string proof;
};

// Rows "| subject | state | proof |" below the heading.
std::vector<StatusRow> status_rows(const std::string& heading) {
  const std::string page = read_file(kSource + "/docs/status.md");
  const size_t start = page.find("\n## " + heading + "\n");
  EXPECT_NE(start, std::string::npos) << heading;
  if (start == std::string::npos) return {};
  std::vector<StatusRow> rows;
  const std::string section = page.substr(start + 4, page.find("\n## ", start + 4) - start - 4);
  for (const std::string& line : split(section, '\n')) {
    const auto cells = split(line, '|');
    if (cells.size() != 5 || trim(cells[1]).starts_with("---") || trim(cells[3]) == "proof") continue;
    rows.push_back({std::string(trim(cells[1])), std::string(trim(cells[2])), std::string(trim(cells[3]))});
  }
  return rows;
}

// Every "ROOM/Suite.Name" that stands in tests/.
const std::set<std::string>& known_tests() {
  static const std::set<std::string> tests = [] {
    std::set<std::string> found;
    const std::regex pattern(R"(\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\))");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kSource + "/tests")) {
      if (entry.path().extension() != ".cpp") continue;
      const std::string room = *std::next(std::filesystem::relative(entry.path(), kSource + "/tests").begin(), 0);
      const std::string text = read_file(entry.path());
      for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it) {
        found.insert(room + "/" + (*it)[1].str() + "." + (*it)[2].str());
      }
    }
    return found;
  }();
  return tests;
}

void expect_proofs(const std::vector<StatusRow>& rows) {
  for (const StatusRow& row : rows) {
    ASSERT_FALSE(row.proof.empty()) << row.subject << " names no test";
    for (const std::string& proof : split(row.proof, ',')) {
      const std::string name = replace_all(std::string(trim(proof)), "`", "");
      EXPECT_TRUE(known_tests().contains(name)) << row.subject << ": there is no test " << name;
    }
  }
}

TEST(Status, OptionsOfTheGuideStandInTheirClass) {
  const auto rows = status_rows("Options of the guide");
  std::map<std::string, std::string> states;
  for (const StatusRow& row : rows) {
    EXPECT_TRUE(states.emplace(replace_all(row.subject, "`", ""), row.state).second) << row.subject << " stands twice";
  }
  const auto guide = split_words(read_file(kSource + "/tests/config/guide_names.txt"));
  for (const std::string& name : guide) {
    const OptionRow* row = find_option(name).row;
    ASSERT_NE(row, nullptr) << name;
    const std::string option = "--" + name;
    ASSERT_TRUE(states.contains(option)) << option << " is missing in docs/status.md";
    const std::string state =
        row->status == OptionClass::kUnavailable ? "refused" : std::string(option_class_name(row->status));
    EXPECT_EQ(states.at(option), state) << option << ": docs/status.md must say what the options table says";
  }
  EXPECT_EQ(rows.size(), guide.size());
  expect_proofs(rows);
}

TEST(Status, FeaturesNameTheirProof) {
  const auto rows = status_rows("Features of the guide");
  EXPECT_FALSE(rows.empty());
  for (const StatusRow& row : rows) EXPECT_TRUE(row.state == "works" || row.state == "refused") << row.subject;
  expect_proofs(rows);
}

}  // namespace
}  // namespace conclave
