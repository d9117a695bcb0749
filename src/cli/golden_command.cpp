#include <fmt/core.h>

#include <cstdio>

#include "base/error.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "proof/golden/run.h"

namespace conclave {

int golden_command(const Words& words) {
  const bool has_directory = !words.empty() && !words.front().starts_with("-");
  const std::string directory = has_directory ? words.front() : CONCLAVE_DEFAULT_GOLDEN_DIR;
  const ParsedOptions layout =
      command_options(Command::kParity, Words(words.begin() + (has_directory ? 1 : 0), words.end()));
  if (!layout.positionals.empty())
    throw UsageError(fmt::format(
        "`conclave golden` takes one directory, then layout options; got '{}' as well; conclave golden --help",
        layout.positionals.front()));
  const int64_t failed = proof::run_golden(
      directory,
      [](const std::string& text) {
        fmt::print("{}", text);
        std::fflush(stdout);
      },
      proof::golden_folders(layout));
  return failed == 0 ? 0 : 1;
}

}  // namespace conclave
