// From a command line, YAML or JSON to options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "config/option_table.h"

namespace conclave {

enum class Command { kTrain, kPreprocess, kGenerate, kEval, kInspect, kBench, kPlan, kConvert, kUpcycle, kParity };

std::string_view command_name(Command command);

/// One option as it was given.
struct GivenOption {
  const OptionRow* row = nullptr;
  std::vector<std::string> words;  ///< its values; flags: "true" or "false"
  std::string source;              ///< "command line", or the file's name
  std::vector<std::string>
      spellings;  ///< every name it was given by, so that two names of one option can be told apart
};

struct ParsedOptions {
  Options options;                       ///< defaults, then files, then the command line
  std::vector<GivenOption> given;        ///< each option once, as it was given last
  std::vector<std::string> positionals;  ///< words that belong to no option, e.g. DIR of `inspect`
  bool help = false;                     ///< --help or -h stands there

  bool was_given(std::string_view key) const;
};

/// Reads `words` (what follows the command's name) and the files of --config. The command line wins over files, a later
/// file over an earlier one, a later word over an earlier one. Throws UsageError with every fault of form at once:
/// unknown names with the nearest known ones, bad values, spellings pasted from web pages.
ParsedOptions parse_command_line(Command command, const std::vector<std::string>& words);

/// YAML: `key: value`, keys with dashes or underscores, optional groups (model:, moe:, ...), lists. `what` names the
/// source in messages. Throws UsageError as above.
ParsedOptions parse_yaml(std::string_view text, std::string_view what);

/// A JSON object {"num-experts": 8, ...}; null means "not given". Throws UsageError as above.
ParsedOptions options_from_json(const Json& object, std::string_view what);

/// Nothing, or what is wrong with a word that looks pasted from a web page, and its cure.
std::string pasted_spelling(std::string_view word);

}  // namespace conclave
