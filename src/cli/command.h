// What a command of the binary is. To add one: README.md of this room.
#pragma once

#include <string>
#include <vector>

namespace conclave {

/// The words after the command's name.
using Words = std::vector<std::string>;

struct CommandEntry {
  const char* name;
  const char* usage;  ///< what follows the name: "[DIR]"
  const char* help;   ///< one line
  /// Returns the exit code, throws UsageError on wrong words. nullptr: not available yet, refused by name.
  int (*run)(const Words& words);
};

/// In the order of `conclave --help`.
const std::vector<CommandEntry>& commands();

/// `conclave COMMAND --help`, with the options of the command where it takes any.
std::string help_text(const CommandEntry& command);

}  // namespace conclave
