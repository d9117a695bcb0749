#include "proof/golden/pending.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

void count_cases_of_list(const fs::path& path, const std::string& missing, GoldenReport& report) {
  const std::string file = path.filename().string();
  try {
    const Json json = Json::parse(read_file(path.string()), file);
    const Json* cases = json.find("cases");
    if (cases == nullptr) return;
    for (size_t i = 0; i < cases->as_array().size(); ++i)
      report.not_built.push_back({fmt::format("{}#{}", file, i), missing});
  } catch (const UserError& e) {
    report.failed.push_back({file, e.what()});
  }
}

// "model_type 'mixtral'" where the folder is a Hugging Face model, so that the note names what is missing.
std::string missing_in_folder(const fs::path& folder, const std::string& missing) {
  const fs::path config = folder / "config.json";
  if (!fs::exists(config)) return missing;
  try {
    const Json json = Json::parse(read_file(config.string()), "config.json");
    const Json* type = json.find("model_type");
    return type == nullptr ? missing : fmt::format("{} (model_type '{}')", missing, type->as_string());
  } catch (const UserError&) {
    return missing;
  }
}

}  // namespace

GoldenReport pending_report(const std::string& folder, const std::string& label, const std::string& missing) {
  GoldenReport report{label, 0, {}, {}};
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  for (const fs::path& path : entries) {
    if (fs::is_directory(path)) {
      report.not_built.push_back({path.filename().string(), missing_in_folder(path, missing)});
    } else if (path.extension() == ".json" && fs::exists(fs::path(path).replace_extension(".safetensors"))) {
      report.not_built.push_back({path.stem().string(), missing});
    } else if (path.extension() == ".json") {
      count_cases_of_list(path, missing, report);
    }
  }
  return report;
}

// Whoever builds one of these takes its lines out.
std::vector<GoldenReport> golden_hf(const std::string& f) {
  return {pending_report(f, "hf", "models of Hugging Face")};
}

}  // namespace conclave::proof
