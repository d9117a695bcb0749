// How the rules are written: one file per concern, each adds what it finds.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/parse.h"

namespace conclave {

/// What the rules look at, and where their findings go.
struct Rules {
  const ParsedOptions& parsed;
  const Options& raw;       ///< as given
  const Options& resolved;  ///< with derived values
  Command command;
  std::vector<std::string> problems;

  /// Adds a problem when `broken`.
  template <typename... Values>
  void refuse(bool broken, fmt::format_string<Values...> text, Values&&... values) {
    if (broken) problems.push_back(fmt::format(text, std::forward<Values>(values)...));
  }
  bool given(std::string_view key) const { return parsed.was_given(key); }
  /// The sizes of the model must be there: they do not come from a checkpoint.
  bool sizes_required() const { return command == Command::kTrain && !raw.checkpoint.use_checkpoint_args; }
};

void check_model_rules(Rules& rules);
void check_attention_rules(Rules& rules);
void check_moe_rules(Rules& rules);
void check_parallel_rules(Rules& rules);
void check_pipeline_rules(Rules& rules);
void check_overlap_rules(Rules& rules);
void check_pretended_rules(Rules& rules);
void check_routing_trace_rules(Rules& rules);
void check_precision_rules(Rules& rules);
void check_memory_rules(Rules& rules);
void check_graph_rules(Rules& rules);
void check_training_rules(Rules& rules);
void check_schedule_rules(Rules& rules);
void check_data_rules(Rules& rules);
void check_command_rules(Rules& rules);

bool contains(const std::vector<std::string>& list, std::string_view word);

}  // namespace conclave
