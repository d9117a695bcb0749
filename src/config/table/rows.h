// How the files of the table are written: one function per group.
#pragma once

#include <deque>
#include <initializer_list>
#include <string>

#include "config/option_table.h"

namespace conclave {

using OptionRows = std::deque<OptionRow>;

/// Adds the row of a field; key, type and default come from the field itself.
OptionRow& add_field_row(OptionRows& rows, OptionGroup group, const char* member, FieldRef (*field)(Options&),
                         std::string help);

/// A row that is only known by name.
struct NamedOption {
  const char* key;
  OptionType type;
  const char* default_text;  ///< "" = not given; flags: "true" or "" (false)
  const char* help;
  const char* irregular_negative = nullptr;  ///< a name that means "false", beside no-KEY and disable-KEY
};
/// Adds rows of options without effect here.
void add_not_active_rows(OptionRows& rows, OptionGroup group, std::initializer_list<NamedOption> options);
/// Adds rows of options that are refused; `feature` says in words what is missing.
void add_unavailable_rows(OptionRows& rows, OptionGroup group, const char* feature,
                          std::initializer_list<NamedOption> options);

/// Used inside the functions below, which call their deque `rows` and their OptionGroup `group`.
#define CONCLAVE_OPTION(concern, member, help) \
  add_field_row(                               \
      rows, group, #member, [](Options& options) -> FieldRef { return &options.concern.member; }, help)

void add_model_rows(OptionRows& rows);
void add_attention_rows(OptionRows& rows);
void add_moe_rows(OptionRows& rows);
void add_parallel_rows(OptionRows& rows);
void add_precision_rows(OptionRows& rows);
void add_memory_rows(OptionRows& rows);
void add_training_rows(OptionRows& rows);
void add_optimizer_rows(OptionRows& rows);
void add_data_rows(OptionRows& rows);
void add_checkpoint_rows(OptionRows& rows);
void add_logging_rows(OptionRows& rows);
void add_command_rows(OptionRows& rows);
void add_other_task_rows(OptionRows& rows);
void add_inference_rows(OptionRows& rows);

/// Marks what is not built yet: see not_built.cpp.
void mark_unbuilt(OptionRows& rows);

}  // namespace conclave
