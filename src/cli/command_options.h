// The options of a command, and what they set for the whole process.
#pragma once

#include "cli/command.h"
#include "config/parse.h"

namespace conclave {

/// parse_command_line(), and --log-level takes effect.
ParsedOptions command_options(Command command, const Words& words);

}  // namespace conclave
