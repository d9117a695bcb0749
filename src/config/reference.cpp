#include "config/reference.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "config/option_table.h"

namespace conclave {
namespace {

std::string escaped(std::string_view text) { return replace_all(text, "|", "\\|"); }

std::string other_names(const OptionRow& row) {
  std::vector<std::string> names;
  for (const std::string& name : row.aliases) names.push_back(fmt::format("`--{}`", name));
  for (const std::string& name : row.negative_names) {
    // For flags that are off by default the "no-" form is only there to overrule a file.
    if (row.default_text == "true" || name != "no-" + row.key) names.push_back(fmt::format("`--{}`", name));
  }
  return names.empty() ? "" : " Also " + join(names, ", ") + ".";
}

std::string values_of(const OptionRow& row) {
  if (row.choices.empty()) return std::string(option_type_name(row.type));
  std::vector<std::string> shown;
  for (const std::string& choice : row.choices) {
    const bool refused = std::any_of(row.unbuilt.begin(), row.unbuilt.end(),
                                     [&](const UnbuiltChoice& unbuilt) { return unbuilt.value == choice; });
    shown.push_back(refused ? fmt::format("~~{}~~", choice) : choice);
  }
  return join(shown, ", ");
}

std::string class_text(const OptionRow& row) {
  if (row.status != OptionClass::kUnavailable) return std::string(option_class_name(row.status));
  return fmt::format("not available yet: {}", row.feature);
}

std::string markdown_row(const OptionRow& row) {
  const std::string& value = row.default_text;
  const std::string shown = value.empty() ? (row.type == OptionType::kFlag ? "off" : "") : fmt::format("`{}`", value);
  return fmt::format("| `--{}` | {} | {} | {} | {}{} |\n", row.key, escaped(values_of(row)), escaped(shown),
                     escaped(class_text(row)), escaped(row.help), other_names(row));
}

constexpr std::string_view kIntroduction = R"(# Options

This page is made from the options table (`src/config/table/`); a test fails when it is stale and says how to make it anew.

- On the command line: `--key value`, `--key=value`; flags stand alone, `--no-key` takes a flag back. Lists take several
  values. Given twice, the last wins. Dashes and underscores are the same.
- In a file for `--config FILE`: YAML, `key: value`, optionally in groups named like the sections below; the command line
  wins over files.
- Counts may be written 10K, 2.5M, 1B, 3T, 512KiB, 1.5GiB.
- *works*: it does what it says. *not active*: it concerns only speed or another implementation's internals; it is
  accepted, the results are the same. *not available yet*: it would change results, memory or capability and is not
  built; it is refused, unless it says "off". Values ~~like this~~ are known and refused in the same way.
)";

struct CommandText {
  Command command;
  const char* usage;
  const char* purpose;
};

constexpr CommandText kCommands[] = {
    {Command::kTrain, "conclave train [--config FILE.yaml] [OPTIONS]", "train a model, or continue a run"},
    {Command::kPreprocess, "conclave preprocess --input FILES --output-prefix PREFIX --tokenizer-type TYPE [OPTIONS]",
     "turn text or JSONL into token files (.bin and .idx)"},
    {Command::kGenerate, "conclave generate --load DIR [--prompt TEXT] [OPTIONS]", "continue a text with a model"},
    {Command::kEval, "conclave eval --load DIR (--data-path PREFIX | --text-file FILE) [OPTIONS]",
     "measure loss and perplexity of a model"},
    {Command::kInspect, "conclave inspect DIR [OPTIONS]", "show a checkpoint, a data set or a run"},
    {Command::kBench, "conclave bench {gemm | op NAME | layer | step | memory | scaling} [OPTIONS]",
     "measure speed and memory"},
    {Command::kPlan, "conclave plan [--draw] [--config FILE.yaml] [--world-size N] [OPTIONS]",
     "what each pipeline stage of a layout holds and computes, or its schedule as a drawing"},
    {Command::kConvert, "conclave convert --from hf|conclave --to hf|conclave --input DIR --output DIR [OPTIONS]",
     "a Hugging Face model into a checkpoint, or a checkpoint into a Hugging Face model"},
    {Command::kUpcycle, "conclave upcycle (--load DIR | --load-hf DIR) --save DIR --num-experts E [OPTIONS]",
     "make a model with experts of a dense one"},
    {Command::kParity, "conclave parity --hf DIR --reference FILE [OPTIONS]",
     "compare logits, loss and gradients of a Hugging Face model with numbers made elsewhere"},
};

bool is_shown(Command command, const OptionRow& row) {
  if (row.status != OptionClass::kWorks) return false;
  using enum OptionGroup;
  switch (row.group) {
    case kPreprocess:
      return command == Command::kPreprocess || (command == Command::kConvert && row.key == "input");
    case kConvert:
      return command == Command::kConvert || (command == Command::kTrain && row.key != "from" && row.key != "to");
    case kParity:
      return command == Command::kParity;
    case kGenerate:
      return command == Command::kGenerate;
    case kEval:
      return command == Command::kEval;
    case kInspect:
      return command == Command::kInspect;
    case kPlan:
      return command == Command::kPlan;
    case kBench:
      return command == Command::kBench || (command == Command::kParity && row.key == "dtype");
    case kDevice:
      return command != Command::kInspect;
    case kTokenizer:
      return command != Command::kInspect && command != Command::kBench && command != Command::kPlan;
    case kData:
      return command == Command::kTrain || command == Command::kEval;
    case kTraining:
      if (command == Command::kPlan) return row.key == "micro-batch-size" || row.key == "global-batch-size";
      return command == Command::kTrain || row.key == "seed" ||
             (row.key == "micro-batch-size" && command != Command::kConvert && command != Command::kUpcycle);
    case kCheckpoint:
      return command == Command::kTrain ||
             ((command == Command::kGenerate || command == Command::kEval) &&
              (row.key == "load" || row.key == "ckpt-step" || row.key == "load-hf")) ||
             (command == Command::kUpcycle &&
              (row.key == "load" || row.key == "ckpt-step" || row.key == "load-hf" || row.key == "save"));
    case kOptimizer:
    case kLogging:
      return command == Command::kTrain;
    case kMemory:
      return command == Command::kTrain || command == Command::kPlan;
    case kMoe:
      return command == Command::kTrain || command == Command::kBench || command == Command::kUpcycle ||
             command == Command::kPlan;
    default:
      return command == Command::kTrain || command == Command::kBench || command == Command::kPlan;
  }
}

std::string placeholder(const OptionRow& row) {
  switch (row.type) {
    case OptionType::kFlag:
      return "";
    case OptionType::kInt:
      return " N";
    case OptionType::kFloat:
      return " X";
    case OptionType::kString:
      return " TEXT";
    case OptionType::kIntList:
      return " N ...";
    case OptionType::kFloatList:
      return " X ...";
    case OptionType::kStringList:
      return " TEXT ...";
  }
  return "";
}

std::string help_row(const OptionRow& row) {
  const bool on = row.type == OptionType::kFlag && row.default_text == "true";
  std::string name = fmt::format("--{}{}{}", on ? "no-" : "", row.key, placeholder(row));
  if (row.key == "add-bias-linear") name = "--disable-bias-linear";
  if (row.key == "add-position-embedding") name = "--no-position-embedding";
  std::string text = row.help;
  if (!row.choices.empty()) {
    std::vector<std::string> built;
    for (const std::string& choice : row.choices) {
      const auto same = [&](const UnbuiltChoice& unbuilt) { return unbuilt.value == choice; };
      if (std::none_of(row.unbuilt.begin(), row.unbuilt.end(), same)) built.push_back(choice);
    }
    text += " One of: " + join(built, ", ") + ".";
  }
  if (on) {
    text = "Off: " + text;
  } else if (!row.default_text.empty() && row.default_text != "0") {
    text += " [" + row.default_text + "]";
  }
  return name.size() < 40 ? fmt::format("  {:<40}{}\n", name, text) : fmt::format("  {}\n{:42}{}\n", name, "", text);
}

}  // namespace

std::string options_reference_markdown() {
  std::map<OptionGroup, std::string> tables;
  for (const OptionRow& row : option_table()) tables[row.group] += markdown_row(row);
  std::string out(kIntroduction);
  for (const auto& [group, table] : tables) {
    out += fmt::format("\n## {} (`{}`)\n\n", option_group_title(group), option_group_name(group));
    out += "| option | values | default | class | meaning |\n|---|---|---|---|---|\n" + table;
  }
  return out;
}

std::string command_help(Command command) {
  std::string out;
  for (const CommandText& text : kCommands) {
    if (text.command == command) out = fmt::format("usage: {}\n\n{}\n", text.usage, text.purpose);
  }
  out +=
      "\n--key value or --key=value; --no-key takes a flag back; given twice, the last wins. --config FILE reads the "
      "same "
      "names from\nYAML, the command line wins. Every known option, with those that are accepted without effect or not "
      "available yet: docs/options.md\n";
  for (int i = 0; i <= static_cast<int>(OptionGroup::kOtherTasks); ++i) {
    const auto group = static_cast<OptionGroup>(i);
    std::string rows;
    for (const OptionRow& row : option_table()) {
      if (row.group == group && is_shown(command, row)) rows += help_row(row);
    }
    if (!rows.empty()) out += fmt::format("\n{}:\n{}", option_group_title(group), rows);
  }
  return out;
}

}  // namespace conclave
