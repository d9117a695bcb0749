// The text of --pipeline-model-parallel-layout: which layers stand in which pipeline stage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

/// Symbols of each stage, in the order virtual stage outer, pipeline rank inner: E embedding, t decoder layer, m extra
/// prediction layer, L loss. A stage may be empty.
struct PipelineLayout {
  std::vector<std::string> stages;

  int64_t count(char symbol) const;
};

/// What a layout must fit.
struct PipelineLayoutUse {
  int64_t pipeline_size = 1;
  int64_t num_layers = 0;
  int64_t mtp_num_layers = 0;
  std::optional<int64_t> virtual_size;  ///< chunks of a rank, if they were given beside the layout
};

/// Grammar: commas are ignored; `|` ends a stage; `(X)*n` repeats X (no nesting, X not empty); then `c*n` repeats one
/// character. Throws UserError on anything else, and unless the layout begins with its only E and ends with its only L.
PipelineLayout parse_pipeline_layout(std::string_view text);

/// Throws UserError naming the first rule of `use` that the layout breaks.
void check_pipeline_layout(const PipelineLayout& layout, const PipelineLayoutUse& use);

}  // namespace conclave
