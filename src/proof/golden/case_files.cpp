#include "proof/golden/case_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"

namespace conclave::proof {
namespace {

std::string name_of(const std::string& file, size_t index, const Json& golden) {
  for (const char* key : {"name", "prefix"}) {
    const Json* name = golden.find(key);
    if (name != nullptr && name->is_string()) return file + "#" + name->as_string();
  }
  return fmt::format("{}#{}", file, index);
}

void run_case(const std::string& name, const CaseFunction& check, const Json& golden, const std::string& folder,
              GoldenReport& report) {
  try {
    const bool refuse = must_be_refused(golden);
    try {
      check(golden, folder);
    } catch (const UserError&) {
      if (!refuse) throw;
      ++report.passed;
      return;
    }
    if (refuse) throw Mismatch("must be refused, but was accepted");
    ++report.passed;
  } catch (const NotBuilt& missing) {
    report.not_built.push_back({name, missing.what()});
  } catch (const std::exception& error) {
    report.failed.push_back({name, error.what()});
  }
}

// False if the file holds no cases.
bool run_file(const std::filesystem::path& path, const std::map<std::string, CaseFunction>& kinds,
              GoldenReport& report) {
  const std::string file = path.filename().string(), folder = path.parent_path().string();
  Json json;
  try {
    json = Json::parse(read_file(path.string()), file);
  } catch (const std::exception& error) {
    report.failed.push_back({file, error.what()});
    return true;
  }
  const Json* kind = json.find("kind");
  const Json* cases = json.find("cases");
  if (kind == nullptr || cases == nullptr || !kind->is_string() || !cases->is_array()) return false;
  const auto known = kinds.find(kind->as_string());
  for (size_t i = 0; i < cases->size(); ++i) {
    const Json& golden = cases->at(i);
    const std::string name = name_of(file, i, golden);
    if (known == kinds.end()) {
      report.not_built.push_back({name, fmt::format("kind '{}'", kind->as_string())});
    } else {
      run_case(name, known->second, golden, folder, report);
    }
  }
  return true;
}

void append(std::vector<GoldenNote>& to, const std::vector<GoldenNote>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

void expect_near(const std::string& what, double got, double wanted, double relative, double absolute) {
  if (std::fabs(got - wanted) <= relative * std::fabs(wanted) + absolute) return;
  throw Mismatch(fmt::format("{} is {}, must be {}, off by {:.3g}", what, got, wanted, got - wanted));
}

std::vector<int64_t> ints(const Json& array) {
  std::vector<int64_t> out;
  for (const Json& value : array.as_array()) out.push_back(value.as_int());
  return out;
}

std::vector<double> doubles(const Json& array) {
  std::vector<double> out;
  for (const Json& value : array.as_array()) out.push_back(value.as_double());
  return out;
}

std::vector<std::string> strings(const Json& array) {
  std::vector<std::string> out;
  for (const Json& value : array.as_array()) out.push_back(value.as_string());
  return out;
}

int64_t int_or(const Json& golden, std::string_view key, int64_t otherwise) {
  const Json* value = golden.find(key);
  return value == nullptr || value->is_null() ? otherwise : value->as_int();
}

bool flag_or(const Json& golden, std::string_view key, bool otherwise) {
  const Json* value = golden.find(key);
  return value == nullptr || value->is_null() ? otherwise : value->as_bool();
}

bool must_be_refused(const Json& golden) { return flag_or(golden, "error", false); }

std::vector<GoldenReport> run_case_files(const std::string& folder, const std::string& label,
                                         const std::map<std::string, CaseFunction>& kinds, Reports reports) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<GoldenReport> out = {{label, 0, {}, {}}};
  for (const std::filesystem::path& path : files) {
    GoldenReport report{label + "/" + path.filename().string(), 0, {}, {}};
    if (!run_file(path, kinds, report)) continue;
    out[0].passed += report.passed;
    append(out[0].failed, report.failed);
    append(out[0].not_built, report.not_built);
    if (reports == Reports::kAlsoByFile) out.push_back(std::move(report));
  }
  return out;
}

}  // namespace conclave::proof
