// golden/hf: small Hugging Face models with logits, loss and every gradient, as Transformers gives them.
#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "proof/golden/golden.h"
#include "proof/parity.h"
#include "spec/hugging_face/family.h"

namespace conclave::proof {
namespace {

namespace fs = std::filesystem;

// Empty if the model's type is known.
std::string unknown_type(const fs::path& folder) {
  const std::string config = (folder / "config.json").string();
  const Json json = Json::parse(read_file(config), config);
  const Json* type = json.find("model_type");
  const std::string name = type != nullptr && type->is_string() ? type->as_string() : "";
  return find_family(name) != nullptr ? "" : fmt::format("models of Hugging Face (model_type '{}')", name);
}

}  // namespace

std::vector<GoldenReport> golden_hf(const std::string& folder, const ParsedOptions& layout) {
  GoldenReport report{.label = "hf", .passed = 0, .failed = {}, .not_built = {}};
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  for (const fs::path& path : cases) {
    const std::string name = path.filename().string();
    try {
      if (const std::string missing = unknown_type(path); !missing.empty()) {
        report.not_built.push_back({name, missing});
        continue;
      }
      const ParityReport parity = run_parity(path.string(), (path / "reference.safetensors").string(), layout);
      if (parity.passed()) {
        ++report.passed;
      } else {
        report.failed.push_back({name, parity.first_fault()});
      }
    } catch (const UsageError& error) {
      note_refusal({name, error.what()}, layout, &report);
    } catch (const std::exception& error) {
      report.failed.push_back({name, error.what()});
    }
  }
  return {report};
}

}  // namespace conclave::proof
