#include "config/validate.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "config/option_value.h"
#include "config/resolve.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

std::string values_text(const OptionRow& row, const std::string& value) {
  if (row.type != OptionType::kFlag) return fmt::format("--{} {}", row.key, value);
  return value == "true" ? "--" + row.key : fmt::format("--no-{}", row.key);
}

std::string how_to_leave(const OptionRow& row) {
  if (row.type == OptionType::kFlag || row.default_text.empty() || row.default_text == "0") return "leave it out";
  return fmt::format("leave it at {}", row.default_text);
}

// Equal as values: 1 and 1.0 are.
bool same_value(const OptionRow& row, const std::string& a, const std::string& b) {
  if (a == b) return true;
  if (row.type == OptionType::kFlag) return parse_flag(a).value_or(false) == parse_flag(b).value_or(false);
  const auto x = parse_finite(a), y = parse_finite(b);
  return x && y && *x == *y;
}

bool is_off(const OptionRow& row, const std::string& value) {
  if (row.field == nullptr ? same_value(row, value, row.default_text) : false) return true;
  return std::any_of(row.off_values.begin(), row.off_values.end(),
                     [&](const std::string& off) { return same_value(row, value, off); });
}

void add_unbuilt_values(const Options& options, const OptionRow& row, std::vector<std::string>& texts) {
  const std::string value = option_text(options, row);
  for (const UnbuiltChoice& choice : row.unbuilt) {
    const bool list = row.type == OptionType::kStringList;
    if (list ? !contains(split_words(value), choice.value) : value != choice.value) continue;
    std::vector<std::string> built;
    for (const std::string& other : row.choices) {
      const auto same = [&](const UnbuiltChoice& u) { return u.value == other; };
      if (std::none_of(row.unbuilt.begin(), row.unbuilt.end(), same)) built.push_back(other);
    }
    texts.push_back(fmt::format("--{} {} is not available yet: {}; choose from: {}", row.key, choice.value,
                                choice.feature, join(built, ", ")));
  }
}

}  // namespace

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::vector<std::string> unavailable_options(const ParsedOptions& parsed) {
  std::vector<std::string> texts;
  const auto refuse = [&](const OptionRow& row, const std::string& value) {
    texts.push_back(fmt::format("--{} is not available yet: {}; got {}; {}", row.key, row.feature,
                                values_text(row, value), how_to_leave(row)));
  };
  for (const OptionRow& row : option_table()) {
    if (row.field == nullptr) continue;
    if (!row.unbuilt.empty()) add_unbuilt_values(parsed.options, row, texts);
    if (row.status != OptionClass::kUnavailable || option_is_default(parsed.options, row)) continue;
    const std::string value = option_text(parsed.options, row);
    if (!is_off(row, value)) refuse(row, value);
  }
  for (const GivenOption& given : parsed.given) {
    if (given.row->field || given.row->status != OptionClass::kUnavailable) continue;
    const std::string value = join(given.words, " ");
    if (!is_off(*given.row, value)) refuse(*given.row, value);
  }
  return texts;
}

std::vector<std::string> option_contradictions(const ParsedOptions& parsed, Command command) {
  const Options derived = resolved(parsed.options);
  Rules rules{parsed, parsed.options, derived, command, {}};
  if (command == Command::kPlan && parsed.options.plan.draw) {  // a drawing needs no model
    check_pipeline_rules(rules);
    return std::move(rules.problems);
  }
  if (command != Command::kPreprocess && command != Command::kInspect && command != Command::kConvert) {
    check_model_rules(rules);
    check_attention_rules(rules);
    check_moe_rules(rules);
    check_parallel_rules(rules);
    check_pipeline_rules(rules);
    check_overlap_rules(rules);
    check_pretended_rules(rules);
    check_routing_trace_rules(rules);
    check_precision_rules(rules);
    check_memory_rules(rules);
    check_graph_rules(rules);
    check_training_rules(rules);
    check_schedule_rules(rules);
  }
  if (command != Command::kInspect) check_data_rules(rules);
  check_command_rules(rules);
  return std::move(rules.problems);
}

std::vector<std::string> option_warnings(const Options& options) {
  std::vector<std::string> texts;
  const MoeOptions& moe = options.moe;
  if (moe.num_experts >= 32 && !moe.moe_router_dtype) {
    texts.push_back(fmt::format("{} experts without --moe-router-dtype; fp32 is more accurate", moe.num_experts));
  }
  if (!options.model.group_query_attention && options.model.num_query_groups != 1 &&
      options.model.num_query_groups != options.model.num_attention_heads) {
    texts.push_back("--num-query-groups counts only with --group-query-attention");
  }
  if (moe.moe_router_num_groups > 0 && moe.moe_router_group_topk == 0) {
    texts.push_back("--moe-router-num-groups has no effect without --moe-router-group-topk");
  }
  const bool losses = moe.moe_router_load_balancing_type != std::vector<std::string>{"none"} &&
                      moe.moe_router_load_balancing_type != std::vector<std::string>{"sinkhorn"};
  const bool weighted = std::any_of(moe.moe_aux_loss_coeff.begin(), moe.moe_aux_loss_coeff.end(),
                                    [](double weight) { return weight != 0; });
  if (moe.num_experts > 0 && losses && !weighted && !moe.moe_router_enable_expert_bias) {
    texts.push_back("experts are not balanced: --moe-aux-loss-coeff is 0 and there is no expert bias");
  }
  return texts;
}

Options checked_options(const ParsedOptions& parsed, Command command) {
  std::vector<std::string> problems = unavailable_options(parsed);
  for (std::string& text : option_contradictions(parsed, command)) problems.push_back(std::move(text));
  if (problems.size() == 1) throw UsageError(problems[0]);
  if (!problems.empty()) {
    std::string text = fmt::format("{} problems in the options:", problems.size());
    for (size_t i = 0; i < problems.size(); ++i) text += fmt::format("\n  {}. {}", i + 1, problems[i]);
    throw UsageError(text);
  }
  return resolved(parsed.options);
}

std::string inactive_summary(const ParsedOptions& parsed) {
  std::vector<std::string> names;
  for (const GivenOption& given : parsed.given) {
    if (given.row->status == OptionClass::kNotActive) names.push_back(fmt::format("--{}", given.spellings.back()));
  }
  if (names.empty()) return {};
  return "not active, results are the same: " + join(names, ", ");
}

}  // namespace conclave
