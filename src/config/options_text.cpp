#include "config/options_text.h"

#include "base/error.h"
#include "config/option_value.h"
#include "config/resolve.h"
#include "config/yaml.h"

namespace conclave {
namespace {

bool belongs_to_a_run(const OptionRow& row) {
  switch (row.group) {
    case OptionGroup::kPreprocess:
    case OptionGroup::kGenerate:
    case OptionGroup::kEval:
    case OptionGroup::kInspect:
    case OptionGroup::kConvert:
    case OptionGroup::kParity:
    case OptionGroup::kBench:
    case OptionGroup::kPlan:
      return false;
    default:
      return row.field != nullptr;
  }
}

std::string yaml_value(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return "null";
    case Json::Kind::kString:
      return yaml_scalar(value.as_string());
    case Json::Kind::kArray: {
      std::string out = "[";
      for (const Json& item : value.as_array()) {
        if (out.size() > 1) out += ", ";
        out += yaml_value(item);
      }
      return out + "]";
    }
    default:
      return value.dump();
  }
}

}  // namespace

std::string options_yaml(const Options& options) {
  std::string out;
  OptionGroup last = OptionGroup::kOtherTasks;
  for (const OptionRow& row : option_table()) {
    if (!belongs_to_a_run(row)) continue;
    if (row.group != last) out += fmt::format("{}:\n", option_group_name(row.group));
    last = row.group;
    out += fmt::format("  {}: {}\n", row.key, yaml_value(option_json(options, row)));
  }
  return out;
}

Json options_to_json(const Options& options) {
  Json object = Json::object();
  for (const OptionRow& row : option_table()) {
    if (belongs_to_a_run(row)) object[row.key] = option_json(options, row);
  }
  return object;
}

std::vector<std::string> architecture_keys() {
  std::vector<std::string> keys;
  for (const OptionRow& row : option_table()) {
    if (row.architecture) keys.push_back(row.key);
  }
  return keys;
}

std::vector<std::string> take_architecture(ParsedOptions& parsed, const Json& saved) {
  const ParsedOptions other = options_from_json(saved, "the checkpoint's options");
  std::vector<std::string> notes;
  for (const OptionRow& row : option_table()) {
    if (!row.architecture || saved.find(row.key) == nullptr) continue;
    const bool given = parsed.was_given(row.key);
    if (given && row.group == OptionGroup::kTokenizer) continue;
    const std::string before = option_json(parsed.options, row).dump();
    const Json value = option_json(other.options, row);
    if (given && before != value.dump()) {
      notes.push_back(fmt::format("--{}: the checkpoint has {}; {} is left aside", row.key, value.dump(), before));
    }
    copy_option(other.options, parsed.options, row);
  }
  return notes;
}

std::vector<std::string> take_model(ParsedOptions& parsed, const Json& model) {
  const ParsedOptions other = options_from_json(model, "the model's configuration");
  std::vector<std::string> notes = take_architecture(parsed, options_to_json(other.options));
  for (const GivenOption& option : other.given) {
    if (!option.row->architecture && !parsed.was_given(option.row->key))
      copy_option(other.options, parsed.options, *option.row);
  }
  return notes;
}

std::vector<std::string> architecture_differences(const Options& options, const Json& saved) {
  const Options mine = resolved(options);
  const Options theirs = resolved(options_from_json(saved, "the checkpoint's options").options);
  std::vector<std::string> texts;
  for (const OptionRow& row : option_table()) {
    if (!row.architecture || row.group == OptionGroup::kTokenizer || saved.find(row.key) == nullptr) continue;
    const std::string a = option_json(mine, row).dump(), b = option_json(theirs, row).dump();
    if (a != b) texts.push_back(fmt::format("--{} is {}, the checkpoint has {}", row.key, a, b));
  }
  return texts;
}

}  // namespace conclave
