#include "cli/command_options.h"

#include "base/log.h"

namespace conclave {

ParsedOptions command_options(Command command, const Words& words) {
  ParsedOptions parsed = parse_command_line(command, words);
  set_log_level(log_level_of(parsed.options.logging.log_level));
  return parsed;
}

}  // namespace conclave
