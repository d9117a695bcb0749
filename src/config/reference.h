// Pages for people, made from the table.
#pragma once

#include <string>

#include "config/parse.h"

namespace conclave {

/// docs/options.md.
std::string options_reference_markdown();

/// `conclave COMMAND --help`.
std::string command_help(Command command);

}  // namespace conclave
