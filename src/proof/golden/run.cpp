#include "proof/golden/run.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

struct FoundFolder {
  std::string path;
  std::string label;  // path below the directory: "router", "more/router"
  const GoldenFolder* known = nullptr;
};

const GoldenFolder* find_known(const std::string& name, const std::vector<GoldenFolder>& folders) {
  const auto it = std::find_if(folders.begin(), folders.end(), [&](const GoldenFolder& f) { return f.name == name; });
  return it == folders.end() ? nullptr : &*it;
}

std::vector<fs::path> folders_in(const fs::path& directory) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_directory() && entry.path().filename().string().front() != '.') out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Every folder of a known name below, and those of unknown names that hold none.
std::vector<FoundFolder> find_folders(const fs::path& directory, const std::string& prefix,
                                      const std::vector<GoldenFolder>& known, int depth = 0) {
  std::vector<FoundFolder> out;
  for (const fs::path& path : folders_in(directory)) {
    const std::string name = path.filename().string();
    FoundFolder found{path.string(), prefix + name, find_known(name, known)};
    std::vector<FoundFolder> inside;
    if (found.known == nullptr && depth < 8) inside = find_folders(path, found.label + "/", known, depth + 1);
    std::erase_if(inside, [](const FoundFolder& f) { return f.known == nullptr; });
    if (inside.empty()) {
      out.push_back(std::move(found));
    } else {
      out.insert(out.end(), inside.begin(), inside.end());
    }
  }
  return out;
}

std::vector<GoldenReport> run_folder(const FoundFolder& folder) {
  if (folder.known == nullptr) {
    return {{folder.label, 0, {}, {{"the folder", "no cases of a known form have this name"}}}};
  }
  std::vector<GoldenReport> reports;
  try {
    reports = folder.known->run(folder.path);
    CONCLAVE_CHECK(!reports.empty(), "no report for {}", folder.path);
  } catch (const std::exception& e) {
    reports = {{folder.known->name, 0, {{"the folder", e.what()}}, {}}};
  }
  const std::string prefix = folder.label.substr(0, folder.label.size() - folder.known->name.size());
  for (GoldenReport& report : reports) report.label = prefix + report.label;
  return reports;
}

std::string text_of(const std::vector<GoldenReport>& reports) {
  std::string text;
  for (const GoldenReport& report : reports) {
    text += fmt::format("{}: {} passed, {} failed, {} not built\n", report.label, report.passed, report.failed.size(),
                        report.not_built.size());
  }
  for (const GoldenNote& note : reports.front().failed) text += fmt::format("  failed: {}: {}\n", note.name, note.text);
  for (const GoldenNote& note : reports.front().not_built)
    text += fmt::format("  not built: {}: {}\n", note.name, note.text);
  return text;
}

}  // namespace

std::vector<GoldenFolder> golden_folders(const ParsedOptions& layout) {
  return {
      {"data", golden_data},
      {"hf", [layout](const std::string& folder) { return golden_hf(folder, layout); }},
      {"layout", golden_layout},
      {"model", [layout](const std::string& folder) { return golden_model(folder, layout); }},
      {"router", [layout](const std::string& folder) { return golden_router(folder, layout.options.device.device); }},
      {"schedule", golden_schedule},
      {"tokenizer", golden_tokenizer},
      {"training", golden_training},
  };
}

int64_t run_golden(const std::string& directory, const std::function<void(const std::string& text)>& print,
                   const std::vector<GoldenFolder>& folders) {
  CONCLAVE_USER_CHECK(is_directory(directory),
                      "[proof/golden] '{}' is no directory; give one that holds folders of golden cases", directory);
  const std::string own_name = fs::weakly_canonical(directory).filename().string();
  std::vector<FoundFolder> found;
  if (const GoldenFolder* known = find_known(own_name, folders)) {
    found = {{directory, own_name, known}};
  } else {
    found = find_folders(directory, "", folders);
  }
  CONCLAVE_USER_CHECK(!found.empty(), "[proof/golden] '{}' holds no folder of golden cases", directory);
  int64_t failed = 0;
  for (const FoundFolder& folder : found) {
    const std::vector<GoldenReport> reports = run_folder(folder);
    failed += static_cast<int64_t>(reports.front().failed.size());
    print(text_of(reports));
  }
  return failed;
}

}  // namespace conclave::proof
