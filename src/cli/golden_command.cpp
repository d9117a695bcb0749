#include <fmt/core.h>

#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "proof/golden/run.h"

namespace conclave {

int golden_command(const Words& words) {
  if (words.size() > 1 || (!words.empty() && words[0].starts_with("-"))) {
    throw UsageError("[cli/golden] takes one directory and no option; conclave golden --help");
  }
  const std::string directory = words.empty() ? CONCLAVE_DEFAULT_GOLDEN_DIR : words[0];
  const int64_t failed = proof::run_golden(directory, [](const std::string& text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  });
  return failed == 0 ? 0 : 1;
}

}  // namespace conclave
