#include <fmt/core.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "trainer/inspect.h"
#include "trainer/inspect_step.h"

namespace conclave {
namespace {

Inspection inspect(const std::string& path, const InspectOptions& options) {
  if (options.iteration) return inspect_step(path, *options.iteration);
  if (options.verify) return verify_path(path);
  if (options.diff) return compare_paths(path, *options.diff);
  return inspect_path(path);
}

}  // namespace

int inspect_command(const Words& words) {
  const ParsedOptions parsed = command_options(Command::kInspect, words);
  if (parsed.positionals.size() != 1)
    throw UsageError("conclave inspect takes one path: a checkpoint, a run directory, or the prefix of a data set");
  const Inspection result = inspect(parsed.positionals[0], parsed.options.inspect);
  fmt::print("{}\n", parsed.options.bench.json ? result.json.dump(2) : result.text);
  return result.sound ? 0 : 1;
}

}  // namespace conclave
