#include <fmt/core.h>

#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "device/cuda_device.h"
#include "proof/golden/run.h"

namespace conclave {

int golden_command(const Words& words) {
  std::string directory = CONCLAVE_DEFAULT_GOLDEN_DIR, device = cuda_is_built_in() ? "cuda" : "cpu";
  bool directory_given = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool names_device = words[i] == "--device" && i + 1 < words.size();
    if (!names_device && (directory_given || words[i].starts_with("-")))
      throw UsageError("[cli/golden] takes one directory and --device cpu or cuda; conclave golden --help");
    if (names_device) {
      device = words[++i];
    } else {
      directory = words[i];
      directory_given = true;
    }
  }
  const auto print = [](const std::string& text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  };
  return proof::run_golden(directory, print, proof::golden_folders(device)) == 0 ? 0 : 1;
}

}  // namespace conclave
