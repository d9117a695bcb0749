#include "config/option_table.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "config/option_value.h"
#include "config/table/rows.h"

namespace conclave {
namespace {

OptionType type_of(const FieldRef& field) {
  struct Visitor {
    OptionType operator()(std::monostate) const { return OptionType::kFlag; }
    OptionType operator()(bool*) const { return OptionType::kFlag; }
    OptionType operator()(int64_t*) const { return OptionType::kInt; }
    OptionType operator()(std::optional<int64_t>*) const { return OptionType::kInt; }
    OptionType operator()(double*) const { return OptionType::kFloat; }
    OptionType operator()(std::optional<double>*) const { return OptionType::kFloat; }
    OptionType operator()(std::string*) const { return OptionType::kString; }
    OptionType operator()(std::optional<std::string>*) const { return OptionType::kString; }
    OptionType operator()(std::vector<int64_t>*) const { return OptionType::kIntList; }
    OptionType operator()(std::vector<double>*) const { return OptionType::kFloatList; }
    OptionType operator()(std::vector<std::string>*) const { return OptionType::kStringList; }
  };
  return std::visit(Visitor{}, field);
}

std::string normalised(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

void add_named(OptionRows& rows, OptionRow prototype, const NamedOption& option) {
  prototype.key = option.key;
  prototype.type = option.type;
  prototype.default_text = option.default_text;
  prototype.help = option.help;
  if (option.irregular_negative) prototype.negative_names.push_back(option.irregular_negative);
  rows.push_back(std::move(prototype));
}

double ceiling_of(const OptionRow& row) {
  // Lists as long as these are made, and up to three of these are multiplied.
  for (const char* key : {"num-layers", "num-experts", "num-attention-heads", "mtp-num-layers"}) {
    if (row.key == key) return 1e6;
  }
  if (row.group == OptionGroup::kParallel) return row.key.starts_with("ddp-") ? 1e15 : 1e6;
  const bool batch = row.key.find("batch-size") != std::string::npos;
  const bool size = row.group == OptionGroup::kModel || row.group == OptionGroup::kAttention ||
                    row.group == OptionGroup::kMoe || row.group == OptionGroup::kMemory;
  return batch || (size && row.key != "delta-offload-bytes-across-pp-ranks") ? 1e9 : 1e15;
}

std::deque<OptionRow> build_table() {
  OptionRows rows;
  add_model_rows(rows);
  add_attention_rows(rows);
  add_moe_rows(rows);
  add_parallel_rows(rows);
  add_precision_rows(rows);
  add_memory_rows(rows);
  add_training_rows(rows);
  add_optimizer_rows(rows);
  add_data_rows(rows);
  add_checkpoint_rows(rows);
  add_logging_rows(rows);
  add_command_rows(rows);
  add_inference_rows(rows);
  add_other_task_rows(rows);
  for (OptionRow& row : rows) {
    row.ceiling = ceiling_of(row);
    if (row.type != OptionType::kFlag) continue;
    if (row.key.starts_with("no-")) continue;
    row.negative_names.push_back("no-" + row.key);
    if (row.default_text == "true") row.negative_names.push_back("disable-" + row.key);
  }
  mark_unbuilt(rows);
  return rows;
}

using NameIndex = std::unordered_map<std::string, FoundOption>;

NameIndex build_index(const std::deque<OptionRow>& rows) {
  NameIndex index;
  const auto add = [&](const std::string& name, const OptionRow& row, bool negated) {
    const auto [place, fresh] = index.emplace(name, FoundOption{&row, negated});
    CONCLAVE_CHECK(fresh, "the option name {} stands for both {} and {}", name, place->second.row->key, row.key);
  };
  for (const OptionRow& row : rows) {
    add(row.key, row, false);
    for (const std::string& name : row.aliases) add(name, row, false);
    for (const std::string& name : row.negative_names) add(name, row, true);
  }
  return index;
}

const NameIndex& name_index() {
  static const NameIndex index = build_index(option_table());
  return index;
}

}  // namespace

OptionRow& OptionRow::one_of(std::vector<std::string> values) {
  choices = std::move(values);
  return *this;
}
OptionRow& OptionRow::at_least(double value) {
  minimum = value;
  return *this;
}
OptionRow& OptionRow::above(double value) {
  minimum = value;
  minimum_excluded = true;
  return *this;
}
OptionRow& OptionRow::between(double low, double high) {
  minimum = low;
  maximum = high;
  return *this;
}
OptionRow& OptionRow::count(size_t low, size_t high) {
  min_count = low;
  max_count = high;
  return *this;
}
OptionRow& OptionRow::alias(std::string name) {
  aliases.push_back(std::move(name));
  return *this;
}
OptionRow& OptionRow::negative(std::string name) {
  negative_names.push_back(std::move(name));
  return *this;
}
OptionRow& OptionRow::shape() {
  architecture = true;
  return *this;
}
OptionRow& OptionRow::expression() {
  list_expression = true;
  return *this;
}
OptionRow& OptionRow::keep_whole() {
  whole_text = true;
  return *this;
}
OptionRow& OptionRow::not_active() {
  status = OptionClass::kNotActive;
  return *this;
}

OptionRow& add_field_row(OptionRows& rows, OptionGroup group, const char* member, FieldRef (*field)(Options&),
                         std::string help) {
  static const Options kDefaults;
  OptionRow row;
  row.key = normalised(member);
  row.group = group;
  row.help = std::move(help);
  row.field = field;
  row.type = type_of(field(const_cast<Options&>(kDefaults)));
  row.default_text = option_text(kDefaults, row);
  if (row.type == OptionType::kFlag && row.default_text == "false") row.default_text.clear();
  rows.push_back(std::move(row));
  return rows.back();
}

void add_not_active_rows(OptionRows& rows, OptionGroup group, std::initializer_list<NamedOption> options) {
  OptionRow prototype;
  prototype.group = group;
  prototype.status = OptionClass::kNotActive;
  for (const NamedOption& option : options) add_named(rows, prototype, option);
}

void add_unavailable_rows(OptionRows& rows, OptionGroup group, const char* feature,
                          std::initializer_list<NamedOption> options) {
  OptionRow prototype;
  prototype.group = group;
  prototype.status = OptionClass::kUnavailable;
  prototype.feature = feature;
  for (const NamedOption& option : options) add_named(rows, prototype, option);
}

const std::deque<OptionRow>& option_table() {
  static const std::deque<OptionRow> table = build_table();
  return table;
}

FoundOption find_option(std::string_view name) {
  const size_t start = name.find_first_not_of('-');
  if (start == std::string_view::npos) return {};
  const auto found = name_index().find(normalised(name.substr(start)));
  return found == name_index().end() ? FoundOption{} : found->second;
}

const OptionRow& option_row(std::string_view key) {
  const FoundOption found = find_option(key);
  CONCLAVE_CHECK(found.row != nullptr && found.row->key == key, "{} is no option", key);
  return *found.row;
}

std::vector<std::string> known_option_names() {
  std::vector<std::string> names;
  for (const OptionRow& row : option_table()) {
    names.push_back(row.key);
    names.insert(names.end(), row.aliases.begin(), row.aliases.end());
    names.insert(names.end(), row.negative_names.begin(), row.negative_names.end());
  }
  return names;
}

std::string_view option_group_name(OptionGroup group) {
  switch (group) {
    case OptionGroup::kModel:
      return "model";
    case OptionGroup::kAttention:
      return "attention";
    case OptionGroup::kMoe:
      return "moe";
    case OptionGroup::kParallel:
      return "parallel";
    case OptionGroup::kPrecision:
      return "precision";
    case OptionGroup::kMemory:
      return "memory";
    case OptionGroup::kTraining:
      return "training";
    case OptionGroup::kOptimizer:
      return "optimization";
    case OptionGroup::kData:
      return "data";
    case OptionGroup::kTokenizer:
      return "tokenizer";
    case OptionGroup::kCheckpoint:
      return "checkpoint";
    case OptionGroup::kLogging:
      return "logging";
    case OptionGroup::kDevice:
      return "execution";
    case OptionGroup::kPreprocess:
      return "preprocess";
    case OptionGroup::kGenerate:
      return "generate";
    case OptionGroup::kEval:
      return "eval";
    case OptionGroup::kInspect:
      return "inspect";
    case OptionGroup::kConvert:
      return "convert";
    case OptionGroup::kParity:
      return "parity";
    case OptionGroup::kBench:
      return "bench";
    case OptionGroup::kPlan:
      return "plan";
    case OptionGroup::kOtherTasks:
      return "other";
  }
  return "";
}

std::string_view option_group_title(OptionGroup group) {
  switch (group) {
    case OptionGroup::kModel:
      return "Model";
    case OptionGroup::kAttention:
      return "Attention and prediction variants";
    case OptionGroup::kMoe:
      return "Mixture of experts";
    case OptionGroup::kParallel:
      return "Parallel layout";
    case OptionGroup::kPrecision:
      return "Precision";
    case OptionGroup::kMemory:
      return "Memory: recomputation, offloading, graphs";
    case OptionGroup::kTraining:
      return "Training loop";
    case OptionGroup::kOptimizer:
      return "Optimizer and learning rate";
    case OptionGroup::kData:
      return "Data";
    case OptionGroup::kTokenizer:
      return "Tokenizer";
    case OptionGroup::kCheckpoint:
      return "Checkpoints";
    case OptionGroup::kLogging:
      return "Logging";
    case OptionGroup::kDevice:
      return "Device";
    case OptionGroup::kPreprocess:
      return "Preprocessing";
    case OptionGroup::kGenerate:
      return "Generation";
    case OptionGroup::kEval:
      return "Evaluation of a checkpoint";
    case OptionGroup::kInspect:
      return "Inspection";
    case OptionGroup::kConvert:
      return "Conversion";
    case OptionGroup::kParity:
      return "Comparison with numbers made elsewhere";
    case OptionGroup::kBench:
      return "Benchmarks";
    case OptionGroup::kPlan:
      return "Planning";
    case OptionGroup::kOtherTasks:
      return "Other tasks (known, not built)";
  }
  return "";
}

std::string_view option_type_name(OptionType type) {
  switch (type) {
    case OptionType::kFlag:
      return "flag";
    case OptionType::kInt:
      return "integer";
    case OptionType::kFloat:
      return "number";
    case OptionType::kString:
      return "text";
    case OptionType::kIntList:
      return "integers";
    case OptionType::kFloatList:
      return "numbers";
    case OptionType::kStringList:
      return "texts";
  }
  return "";
}

std::string_view option_class_name(OptionClass status) {
  switch (status) {
    case OptionClass::kWorks:
      return "works";
    case OptionClass::kNotActive:
      return "not active";
    case OptionClass::kUnavailable:
      return "not available yet";
  }
  return "";
}

}  // namespace conclave
