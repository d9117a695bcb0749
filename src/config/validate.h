// Contradictions between options, found before any memory is taken.
#pragma once

#include <string>
#include <vector>

#include "config/parse.h"

namespace conclave {

/// Options that would change results, memory or capability and are not built: one text for each, "--X is not available
/// yet: ...". Given at their "off" value they are fine.
std::vector<std::string> unavailable_options(const ParsedOptions& parsed);

/// Every contradiction, each as "rule broken; values got; what to do". Options of a checkpoint may still be missing, so
/// only `train` without --use-checkpoint-args asks for sizes.
std::vector<std::string> option_contradictions(const ParsedOptions& parsed, Command command);

/// What is legal but probably not meant.
std::vector<std::string> option_warnings(const Options& options);

/// The resolved options; throws UsageError with everything that unavailable_options and option_contradictions find.
Options checked_options(const ParsedOptions& parsed, Command command);

/// One line that lists the given options without effect here; empty if there are none.
std::string inactive_summary(const ParsedOptions& parsed);

}  // namespace conclave
