// Truth computed elsewhere: puts every golden case below a directory through the product. One function per folder.
#pragma once

#include <string>
#include <vector>

#include "config/parse.h"

namespace conclave::proof {

/// One case that did not pass, or that needs something not built yet.
struct GoldenNote {
  std::string name;  ///< case, e.g. "cap_probs" or "lr_wd.json#3"
  std::string text;  ///< failed: first tensor or value that is off and by how much; not built: the missing option,
                     ///< feature or model
};

/// The outcome for a folder (label "router") or for one file of it (label "training/flops.json").
struct GoldenReport {
  std::string label;
  int passed = 0;
  std::vector<GoldenNote> failed;
  std::vector<GoldenNote> not_built;
};

// Each takes the folder itself (".../golden/router") and reads every case there; loose files are ignored. The first
// report is the folder's own and counts everything; `schedule` and `training` add one per file. A case that cannot be
// read counts as failed.
std::vector<GoldenReport> golden_data(const std::string& folder);
std::vector<GoldenReport> golden_layout(const std::string& folder);
std::vector<GoldenReport> golden_router(const std::string& folder, const std::string& device = "cpu");
std::vector<GoldenReport> golden_schedule(const std::string& folder);
std::vector<GoldenReport> golden_tokenizer(const std::string& folder);
std::vector<GoldenReport> golden_training(const std::string& folder);

// The same of folders whose cases are models: in the layout of `layout` (--ranks-as-threads, sizes, dispatcher), by
// default in one process. A case that the layout does not fit, or whose result depends on the layout by definition,
// counts as not built and says why.
std::vector<GoldenReport> golden_hf(const std::string& folder, const ParsedOptions& layout = {});
std::vector<GoldenReport> golden_model(const std::string& folder, const ParsedOptions& layout = {});

/// Options refused: a layout of several ranks that the case does not fit is not built, anything else has failed.
inline void note_refusal(GoldenNote note, const ParsedOptions& layout, GoldenReport* report) {
  (layout.options.parallel.ranks_as_threads > 1 ? report->not_built : report->failed).push_back(std::move(note));
}

}  // namespace conclave::proof
