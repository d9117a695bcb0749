#include "config/parse.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/option_value.h"
#include "config/yaml.h"

namespace conclave {
namespace {

// Where and under which name an option was given.
struct Spelling {
  std::string_view source;
  std::string_view name;
};

// Without leading dashes, with dashes for underscores.
std::string normal_name(std::string_view name) {
  return replace_all(name.substr(std::min(name.find_first_not_of('-'), name.size())), "_", "-");
}

// Collects options and faults of one source after the other.
class Reader {
 public:
  ParsedOptions result;
  std::vector<std::string> faults;

  void fault(std::string text) { faults.push_back(std::move(text)); }

  void unknown(std::string_view name, std::string_view source) {
    static const std::vector<std::string> names = known_option_names();
    const std::string plain = normal_name(name);
    std::vector<std::string> near;
    if (plain.size() <= 100) near = nearest_names(plain, names);
    for (std::string& other : near) other = fmt::format("--{}", other);
    fault(fmt::format("{}: there is no option --{}; {}", source, plain,
                      near.empty() ? "see --help for all options" : "did you mean " + join(near, ", ") + "?"));
  }

  void set(const OptionRow& row, std::vector<std::string> words, const Spelling& spelling) {
    if (auto problem = assign_option(result.options, row, words)) {
      fault(std::move(*problem));
      return;
    }
    const std::string name = normal_name(spelling.name);
    std::vector<std::string> names;
    for (const GivenOption& given : result.given) {
      if (given.row == &row) names = given.spellings;
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    std::erase_if(result.given, [&](const GivenOption& given) { return given.row == &row; });
    result.given.push_back({&row, std::move(words), std::string(spelling.source), std::move(names)});
  }

  void forget(const OptionRow& row) {
    if (row.field) reset_option(result.options, row);
    std::erase_if(result.given, [&](const GivenOption& given) { return given.row == &row; });
  }

  void set_from_json(const FoundOption& found, const Json& value, const Spelling& spelling);
  void read_object(const Json& object, std::string_view source, bool groups_allowed);

  ParsedOptions finish() {
    if (faults.empty()) return std::move(result);
    if (faults.size() == 1) throw UsageError(faults[0]);
    std::string text = fmt::format("{} faults in the options:", faults.size());
    for (size_t i = 0; i < faults.size(); ++i) text += fmt::format("\n  {}. {}", i + 1, faults[i]);
    throw UsageError(text);
  }
};

std::string json_word(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kBool:
      return value.as_bool() ? "true" : "false";
    case Json::Kind::kInt:
      return std::to_string(value.as_int());
    case Json::Kind::kFloat:
      return number_text(value.as_double());
    case Json::Kind::kString:
      return value.as_string();
    default:
      return value.dump();
  }
}

bool is_list(OptionType type) {
  return type == OptionType::kIntList || type == OptionType::kFloatList || type == OptionType::kStringList;
}

// A JSON list as the value of an option that is one text: "[0,1]" for list expressions, else "a,b".
std::string list_as_text(const OptionRow& row, const Json& list) {
  std::vector<std::string> parts;
  for (const Json& item : list.as_array()) parts.push_back(json_word(item));
  if (row.key == "step-batch-size-schedule") return join(parts, " ");
  const std::string items = join(parts, ",");
  return row.list_expression ? fmt::format("[{}]", items) : items;
}

bool is_written_default(const OptionRow& row, const Json& value) {
  static const Options kDefaults;
  if (row.field == nullptr || value.is_object()) return false;
  const Json standard = option_json(kDefaults, row);
  if (value.is_array() && standard.is_array() && value.size() == 0) return standard.size() == 0;
  return !value.is_array() && !standard.is_array() && json_word(value) == option_text(kDefaults, row);
}

void Reader::set_from_json(const FoundOption& found, const Json& value, const Spelling& spelling) {
  const std::string_view source = spelling.source;
  const OptionRow& row = *found.row;
  // The default may always be written down, also where it stands for "not given" and would be no legal value.
  if (value.is_null() || (!found.negated && is_written_default(row, value))) return forget(row);
  if (value.is_object()) {
    return fault(
        fmt::format("{}: {} holds a group of options; it is an option itself and needs a value", source, row.key));
  }
  if (found.negated || row.type == OptionType::kFlag) {
    const auto flag = value.is_array() ? std::nullopt : parse_flag(json_word(value));
    if (!flag) return fault(fmt::format("{}: {} is a flag: true or false; got {}", source, row.key, json_word(value)));
    return set(row, {*flag != found.negated ? "true" : "false"}, spelling);
  }
  std::vector<std::string> words;
  if (!value.is_array()) {
    words = is_list(row.type) && !row.whole_text ? split_words(json_word(value))
                                                 : std::vector<std::string>{json_word(value)};
  } else if (!is_list(row.type)) {
    words = {list_as_text(row, value)};
  } else {
    for (const Json& item : value.as_array()) words.push_back(json_word(item));
  }
  set(row, std::move(words), spelling);
}

bool is_group_name(std::string_view name) {
  if (name == "MODEL_ARGS" || name == "optimizer" || name == "device") return true;
  for (int i = 0; i <= static_cast<int>(OptionGroup::kOtherTasks); ++i) {
    if (name == option_group_name(static_cast<OptionGroup>(i))) return true;
  }
  return false;
}

void Reader::read_object(const Json& object, std::string_view source, bool groups_allowed) {
  for (const auto& [key, value] : object.as_object()) {
    if (groups_allowed && value.is_object() && is_group_name(key)) {
      read_object(value, source, false);
      continue;
    }
    if (groups_allowed && value.is_null() && is_group_name(key) && !find_option(key).row) continue;
    const std::string pasted = pasted_spelling(key);
    const FoundOption found = pasted.empty() ? find_option(key) : FoundOption{};
    if (!pasted.empty()) {
      fault(fmt::format("{}: {}", source, pasted));
    } else if (!found.row) {
      unknown(key, source);
    } else {
      set_from_json(found, value, {source, key});
    }
  }
}

// True for words that start an option: "--x", and "-x" unless it is a number.
bool starts_option(std::string_view word) {
  if (!word.starts_with('-') || word == "-") return false;
  return word.starts_with("--") || !parse_double(word.substr(0, word.find(',')));
}

bool belongs_elsewhere(Command command, const OptionRow& row) {
  switch (row.group) {
    case OptionGroup::kPreprocess:
      return command != Command::kPreprocess && !(command == Command::kConvert && row.key == "input");
    case OptionGroup::kConvert:
      return command != Command::kConvert && command != Command::kTrain;
    case OptionGroup::kParity:
      return command != Command::kParity;
    case OptionGroup::kGenerate:
      return command != Command::kGenerate;
    case OptionGroup::kEval:
      return command != Command::kEval;
    case OptionGroup::kInspect:
      return command != Command::kInspect;
    case OptionGroup::kPlan:
      return command != Command::kPlan;
    default:
      return false;
  }
}

class CommandLine {
 public:
  CommandLine(Command command, const std::vector<std::string>& words) : command_(command), words_(words) {}

  ParsedOptions parse() {
    read_config_files();
    for (place_ = 0; place_ < words_.size();) next();
    return reader_.finish();
  }

 private:
  static constexpr std::string_view kSource = "command line";
  Command command_;
  const std::vector<std::string>& words_;
  size_t place_ = 0;
  Reader reader_;

  // Files come first, wherever --config stands, so that the command line wins.
  void read_config_files() {
    for (size_t i = 0; i < words_.size(); ++i) {
      std::string path;
      if (words_[i] == "--config" && i + 1 < words_.size()) {
        path = words_[i + 1];
      } else if (words_[i].starts_with("--config=")) {
        path = words_[i].substr(9);
      } else {
        continue;
      }
      try {
        reader_.read_object(yaml_to_json(read_file(path), path), path, true);
      } catch (const UserError& error) {
        reader_.fault(error.what());
      }
    }
  }

  void next() {
    const std::string& word = words_[place_++];
    if (word == "--help" || word == "-h") {
      reader_.result.help = true;
    } else if (word == "--") {
      for (; place_ < words_.size(); ++place_) reader_.result.positionals.push_back(words_[place_]);
    } else if (std::string pasted = pasted_spelling(word); !pasted.empty()) {
      reader_.fault(std::move(pasted));
      while (place_ < words_.size() && !starts_option(words_[place_])) ++place_;
    } else if (starts_option(word)) {
      option(word);
    } else {
      reader_.result.positionals.push_back(word);
    }
  }

  void option(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    std::vector<std::string> values;
    if (equals != std::string::npos) values.push_back(word.substr(equals + 1));
    if (name == "--config") {
      if (equals == std::string::npos && place_ < words_.size()) {
        ++place_;
      } else if (equals == std::string::npos) {
        reader_.fault("--config needs a file");
      }
      return;
    }
    const FoundOption found = find_option(name);
    if (!found.row || !name.starts_with("--")) {
      reader_.unknown(name, kSource);
      while (place_ < words_.size() && !starts_option(words_[place_])) ++place_;
      return;
    }
    if (belongs_elsewhere(command_, *found.row)) {
      reader_.fault(fmt::format("--{} is an option of `conclave {}`, not of `conclave {}`", found.row->key,
                                option_group_name(found.row->group), command_name(command_)));
    }
    if (found.row->type == OptionType::kFlag) {
      flag(found, {kSource, name}, std::move(values));
    } else {
      value(*found.row, {kSource, name}, std::move(values));
    }
  }

  void flag(const FoundOption& found, const Spelling& spelling, std::vector<std::string> values) {
    if (values.empty() && place_ < words_.size() && (words_[place_] == "true" || words_[place_] == "false")) {
      values.push_back(words_[place_++]);
    }
    const auto given = values.empty() ? std::optional<bool>(true) : parse_flag(values[0]);
    if (!given) {
      return reader_.fault(fmt::format("--{} is a flag: true or false; got '{}'", found.row->key, values[0]));
    }
    reader_.set(*found.row, {*given != found.negated ? "true" : "false"}, spelling);
  }

  void value(const OptionRow& row, const Spelling& spelling, std::vector<std::string> values) {
    const bool has_equals = !values.empty();
    const bool many = is_list(row.type);
    while (place_ < words_.size() && !starts_option(words_[place_]) && (many ? !has_equals : values.empty())) {
      values.push_back(words_[place_++]);
    }
    if (values.empty() && !(many && row.min_count == 0)) {
      return reader_.fault(fmt::format("--{} needs a value", row.key));
    }
    reader_.set(row, std::move(values), spelling);
  }
};

}  // namespace

bool ParsedOptions::was_given(std::string_view key) const {
  return std::any_of(given.begin(), given.end(), [&](const GivenOption& option) { return option.row->key == key; });
}

std::string_view command_name(Command command) {
  switch (command) {
    case Command::kTrain:
      return "train";
    case Command::kPreprocess:
      return "preprocess";
    case Command::kGenerate:
      return "generate";
    case Command::kEval:
      return "eval";
    case Command::kInspect:
      return "inspect";
    case Command::kBench:
      return "bench";
    case Command::kPlan:
      return "plan";
    case Command::kConvert:
      return "convert";
    case Command::kUpcycle:
      return "upcycle";
    case Command::kParity:
      return "parity";
  }
  return "";
}

ParsedOptions parse_command_line(Command command, const std::vector<std::string>& words) {
  return CommandLine(command, words).parse();
}

ParsedOptions parse_yaml(std::string_view text, std::string_view what) {
  Reader reader;
  reader.read_object(yaml_to_json(text, what), what, true);
  return reader.finish();
}

ParsedOptions options_from_json(const Json& object, std::string_view what) {
  Reader reader;
  reader.read_object(object, what, true);
  return reader.finish();
}

}  // namespace conclave
