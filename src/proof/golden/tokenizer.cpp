#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/unsupported.h"
#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

using Ids = std::vector<int32_t>;

std::string shown(const Ids& ids, size_t around) {
  std::string text;
  const size_t first = around > 3 ? around - 3 : 0;
  for (size_t i = first; i < std::min(ids.size(), around + 5); ++i) text += fmt::format(" {}", ids[i]);
  return fmt::format("{} ids, from {}:{}", ids.size(), first, text);
}

Ids ids_of(const Json& json) {
  Ids ids;
  for (const Json& id : json.as_array()) ids.push_back(narrow<int32_t>(id.as_int()));
  return ids;
}

// Counts lines that come out wrong and keeps what the first one said.
class Lines {
 public:
  explicit Lines(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  int wrong = 0;
  std::string first;

  void run(const fs::path& path) {
    const std::string content = read_file(path.string());
    int number = 0;
    for (size_t at = 0; at < content.size();) {
      const size_t end = std::min(content.find('\n', at), content.size());
      const std::string_view line = std::string_view(content).substr(at, end - at);
      at = end + 1;
      where_ = fmt::format("{}:{}", path.filename().string(), ++number);
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      try {
        check(Json::parse(line, where_));
      } catch (const Error& error) {
        fail(error.what());
      }
    }
  }

 private:
  const Tokenizer& tokenizer_;
  std::string where_;

  void fail(const std::string& text) {
    if (wrong++ == 0) first = fmt::format("{}: {}", where_, text);
  }

  void compare(const Ids& got, const Ids& expected, const char* what) {
    if (got == expected) return;
    const size_t shorter = std::min(got.size(), expected.size());
    size_t at = 0;
    while (at < shorter && got[at] == expected[at]) ++at;
    fail(fmt::format("{} differ at {}: expected {}; got {}", what, at, shown(expected, at), shown(got, at)));
  }

  void check(const Json& json) {
    if (const Json* text = json.find("text")) {
      compare(tokenizer_.encode(text->as_string()), ids_of(json.at("ids")), "ids");
      if (const Json* special = json.find("ids_special")) {
        compare(tokenizer_.encode_with_special(text->as_string()), ids_of(*special), "ids_special");
      }
    }
    const std::string decoded = tokenizer_.decode(ids_of(json.at("ids")));
    const std::string& expected = json.at("decoded").as_string();
    if (decoded != expected)
      fail(fmt::format("decoded '{}', expected '{}'", decoded.substr(0, 200), expected.substr(0, 200)));
  }
};

std::unique_ptr<Tokenizer> tokenizer_in(const fs::path& folder) {
  TokenizerConfig config;
  const bool json = fs::exists(folder / "tokenizer.json");
  config.type = json ? "HuggingFaceTokenizer" : "SentencePieceTokenizer";
  config.model = (folder / (json ? "tokenizer.json" : "tokenizer.model")).string();
  return make_tokenizer(config);
}

void run_case(const fs::path& folder, GoldenReport& report) {
  const std::string name = folder.filename().string();
  try {
    const std::unique_ptr<Tokenizer> tokenizer = tokenizer_in(folder);
    Lines lines(*tokenizer);
    lines.run(folder / "cases.jsonl");
    if (fs::exists(folder / "decode.jsonl")) lines.run(folder / "decode.jsonl");
    if (lines.wrong == 0) {
      ++report.passed;
    } else {
      report.failed.push_back({name, fmt::format("{} lines wrong; {}", lines.wrong, lines.first)});
    }
  } catch (const UnsupportedTokenizer& error) {
    report.not_built.push_back({name, error.what()});
  } catch (const Error& error) {
    report.failed.push_back({name, error.what()});
  }
}

}  // namespace

std::vector<GoldenReport> golden_tokenizer(const std::string& folder) {
  GoldenReport report{"tokenizer", 0, {}, {}};
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && fs::exists(entry.path() / "cases.jsonl")) cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  for (const fs::path& path : cases) run_case(path, report);
  return {report};
}

}  // namespace conclave::proof
