// What a command of the binary is. To add one: README.md of this room.
#pragma once

#include <string>
#include <vector>

namespace conclave {

/// The words after the command's name, and how the binary was called.
struct CommandLine {
  std::vector<std::string> arguments;
};

struct Command {
  const char* name;
  const char* usage;                    ///< what follows the name: "[DIR]"
  const char* help;                     ///< one line
  int (*run)(const CommandLine& line);  ///< returns the exit code; nullptr: not available yet, refused by name
};

/// In the order of `conclave --help`.
const std::vector<Command>& commands();

/// "conclave golden [DIR]\n\nhelp ...".
std::string help_text(const Command& command);

}  // namespace conclave
