// Documents that name what is not there are wrong: every path, option, command and link in them exists.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "config/option_table.h"

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = CONCLAVE_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// README.md, docs/ and the page of each room.
std::vector<fs::path> pages() {
  std::vector<fs::path> out = {kRoot / "README.md"};
  for (const char* folder : {"docs", "src", "bench", "configs", "tools"}) {
    if (!fs::exists(kRoot / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.path().extension() == ".md") out.push_back(entry.path());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> out;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), regex); it != std::sregex_iterator(); ++it) {
    out.push_back((*it)[1]);
  }
  return out;
}

// Text between backticks, and the lines of code blocks.
std::vector<std::string> code_of(const std::string& text) {
  std::vector<std::string> out;
  std::string prose;
  bool block = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      block = !block;
    } else if (block) {
      out.push_back(line);
    } else {
      prose += line + "\n";
    }
  }
  for (std::string& piece : matches(prose, "`([^`\n]+)`")) out.push_back(std::move(piece));
  return out;
}

// A pattern or a placeholder names no single file: NAME, <op>, *, {a,b}, ...
bool is_pattern(const std::string& path) {
  static const std::regex placeholder("[<>*{}$~…]|\\.\\.\\.|[A-Z]{2}");
  const std::string without_readme = std::regex_replace(path, std::regex("README|CMakeLists|CMakePresets"), "");
  return std::regex_search(without_readme, placeholder);
}

bool exists_for(const fs::path& page, const std::string& path) {
  const fs::path here = page.parent_path();
  return fs::exists(kRoot / path) || fs::exists(kRoot / "src" / path) || fs::exists(here / path);
}

// Paths that a piece of code names: those below a folder of the repository, and anything that ends like a source file.
std::vector<std::string> paths_in(const std::string& code) {
  std::vector<std::string> out;
  for (const std::string& word : matches(code, "([A-Za-z0-9_./<>*{}$~…-]+)")) {
    static const std::regex below("^(\\./)?(src|docs|tools|tests|cmake|configs|apps|bench)/.+");
    static const std::regex file("^[a-z0-9_./-]+\\.(h|cpp|md|cmake|sh)$");
    if (is_pattern(word) || word.starts_with("build/") || word.starts_with("/")) continue;
    if (std::regex_match(word, below) || std::regex_match(word, file)) out.push_back(word);
  }
  return out;
}

// Options of other programs and of the command line itself.
const std::set<std::string> kOtherOptions = {
    "help",         "version", "config", "preset", "build", "all", "no-install-recommends",
    "gtest_filter", "target",  "key",    "no-key", "x"};

// Whether a script that the code calls knows the option.
bool script_knows(const std::string& code, const std::string& option) {
  for (const std::string& path : matches(code, "([A-Za-z0-9_./-]+\\.py)")) {
    if (fs::exists(kRoot / path) && read(kRoot / path).find("\"--" + option + "\"") != std::string::npos) return true;
  }
  return false;
}

std::string faults_of(const fs::path& page, const std::string& text) {
  std::string faults;
  const std::string name = fs::relative(page, kRoot).string();
  std::set<std::string> known;
  for (const conclave::CommandEntry& command : conclave::commands()) known.insert(command.name);
  const std::vector<std::string> doors = matches(read(kRoot / "run"), "\n    ([a-z-]+)\\)? ?[^\n]*\\)?");
  const std::set<std::string> run_words(doors.begin(), doors.end());
  for (const std::string& code : code_of(text)) {
    for (const std::string& path : paths_in(code)) {
      if (!exists_for(page, path)) faults += fmt::format("{}: there is no '{}'\n", name, path);
    }
    for (const std::string& option : matches(code, "(?:^|[ \\[(=])--([a-z][a-z0-9_-]+)")) {
      if (kOtherOptions.contains(option) || conclave::find_option(option).row != nullptr) continue;
      if (script_knows(code, option)) continue;
      faults += fmt::format("{}: there is no option --{}\n", name, option);
    }
    for (const std::string& word : matches(code, "\\./run ([a-z-]+)")) {
      if (!run_words.contains(word)) faults += fmt::format("{}: there is no ./run {}\n", name, word);
    }
    for (const std::string& word : matches(code, "(?:^|run |\\$ )conclave ([a-z-]+)")) {
      if (!known.contains(word) && word != "help" && !word.starts_with("-")) {
        faults += fmt::format("{}: there is no command '{}'\n", name, word);
      }
    }
  }
  for (const std::string& link : matches(text, "\\]\\(([^)#:]+)(?:#[^)]*)?\\)")) {
    if (!fs::exists(page.parent_path() / link)) faults += fmt::format("{}: the link to '{}' is broken\n", name, link);
  }
  return faults;
}

TEST(Docs, EverythingTheyNameExists) {
  std::string faults;
  size_t code_pieces = 0;
  for (const fs::path& page : pages()) {
    const std::string text = read(page);
    faults += faults_of(page, text);
    code_pieces += code_of(text).size();
  }
  EXPECT_EQ(faults, "");
  EXPECT_GT(code_pieces, 100u);
}

TEST(Docs, PagesThatTheSourcesNameExist) {
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "src")) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp" && extension != ".cmake") continue;
    for (const std::string& page : matches(read(entry.path()), "(docs/[a-z0-9_-]+\\.md)")) {
      EXPECT_TRUE(fs::exists(kRoot / page)) << entry.path() << " names " << page;
    }
  }
}

TEST(Docs, TheCheckFindsWhatIsWrong) {
  const fs::path page = kRoot / "docs/install.md";
  EXPECT_NE(faults_of(page, "see `src/base/no_such.h`\n"), "");
  EXPECT_NE(faults_of(page, "see `no_such.cpp`\n"), "");
  EXPECT_NE(faults_of(page, "give `--no-such-option 3`\n"), "");
  EXPECT_NE(faults_of(page, "```\n./run nonsense\n```\n"), "");
  EXPECT_NE(faults_of(page, "```\nconclave nonsense\n```\n"), "");
  EXPECT_NE(faults_of(page, "[there](no_such.md)\n"), "");
  EXPECT_EQ(faults_of(page,
                      "`src/base/json.h`, `base/json.h`, `tests/NAME_test.cpp`, `--num-experts 8`, `./run test`, "
                      "`conclave golden`, [here](install.md)\n"),
            "");
}

}  // namespace
