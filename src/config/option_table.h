// The one table of options: every name that is known, what it means, and whether it is built.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/options.h"

namespace conclave {

enum class OptionGroup {
  kModel,
  kAttention,
  kMoe,
  kParallel,
  kPrecision,
  kMemory,
  kTraining,
  kOptimizer,
  kData,
  kTokenizer,
  kCheckpoint,
  kLogging,
  kDevice,
  kPreprocess,
  kGenerate,
  kEval,
  kInspect,
  kConvert,
  kParity,
  kBench,
  kPlan,
  kOtherTasks
};

/// What giving an option does.
enum class OptionClass {
  kWorks,       ///< it does what its help says
  kNotActive,   ///< it concerns only speed or another implementation's internals: accepted, the results are the same
  kUnavailable  ///< it would change results, memory or capability and is not built: refused unless it says "off"
};

enum class OptionType { kFlag, kInt, kFloat, kString, kIntList, kFloatList, kStringList };

/// Where the value of an option lives; empty for options that are only known by name.
using FieldRef = std::variant<std::monostate, bool*, int64_t*, double*, std::string*, std::optional<int64_t>*,
                              std::optional<double>*, std::optional<std::string>*, std::vector<int64_t>*,
                              std::vector<double>*, std::vector<std::string>*>;

/// A value that is known but not built, e.g. --optimizer muon.
struct UnbuiltChoice {
  std::string value;
  std::string feature;  ///< in words
};

struct OptionRow {
  std::string key;  ///< without leading dashes, e.g. "num-experts"
  OptionGroup group = OptionGroup::kModel;
  OptionClass status = OptionClass::kWorks;
  OptionType type = OptionType::kFlag;
  std::string help;                         ///< one line
  std::string default_text;                 ///< as in the documentation; empty: not given
  std::vector<std::string> choices;         ///< all known values; empty: any
  std::vector<UnbuiltChoice> unbuilt;       ///< those of `choices` that are refused
  std::string feature;                      ///< kUnavailable: what is missing, in words
  std::vector<std::string> off_values;      ///< kUnavailable: further values that mean "off", beside the default
  std::vector<std::string> aliases;         ///< other names with the same meaning
  std::vector<std::string> negative_names;  ///< flags: names that mean "false"
  std::optional<double> minimum;            ///< of every number
  std::optional<double> maximum;
  bool minimum_excluded = false;
  double ceiling = 1e15;         ///< no whole number may be larger, so that products of a few of them fit into 64 bits
  size_t min_count = 0;          ///< lists: fewest values
  size_t max_count = 100000;     ///< lists: most values
  bool architecture = false;     ///< part of what a checkpoint fixes (--use-checkpoint-args)
  bool list_expression = false;  ///< a text that may also be a YAML list, e.g. moe-layer-freq
  bool whole_text = false;       ///< a list whose values may hold blanks: never split
  FieldRef (*field)(Options&) = nullptr;

  // For the table's own files.
  OptionRow& one_of(std::vector<std::string> values);
  OptionRow& at_least(double value);
  OptionRow& above(double value);
  OptionRow& between(double low, double high);
  OptionRow& count(size_t low, size_t high);
  OptionRow& alias(std::string name);
  OptionRow& negative(std::string name);
  OptionRow& shape();       ///< architecture = true
  OptionRow& expression();  ///< list_expression = true
  OptionRow& keep_whole();  ///< whole_text = true
  OptionRow& not_active();  ///< status = kNotActive
};

/// All rows, in the order of the reference page.
const std::deque<OptionRow>& option_table();

/// A name as people write it: leading dashes and underscores do not matter.
struct FoundOption {
  const OptionRow* row = nullptr;  ///< nullptr: unknown
  bool negated = false;            ///< the name says "false", e.g. disable-bias-linear
};
FoundOption find_option(std::string_view name);
/// The row with this key; InternalError if there is none.
const OptionRow& option_row(std::string_view key);

/// Every name that is known: keys, aliases, negatives.
std::vector<std::string> known_option_names();

std::string_view option_group_name(OptionGroup group);   ///< as in YAML, e.g. "moe"
std::string_view option_group_title(OptionGroup group);  ///< as in --help
std::string_view option_type_name(OptionType type);
std::string_view option_class_name(OptionClass status);  ///< "works", "not active", "unavailable"

}  // namespace conclave
