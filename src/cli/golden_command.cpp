#include <fmt/core.h>

#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "proof/golden/run.h"

namespace conclave {

int golden_command(const CommandLine& line) {
  if (line.arguments.size() > 1 || (!line.arguments.empty() && line.arguments[0].starts_with("-"))) {
    throw UsageError("[cli/golden] takes one directory and no option; conclave golden --help");
  }
  const std::string directory = line.arguments.empty() ? CONCLAVE_DEFAULT_GOLDEN_DIR : line.arguments[0];
  const int64_t failed = proof::run_golden(directory, [](const std::string& text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  });
  return failed == 0 ? 0 : 1;
}

}  // namespace conclave
