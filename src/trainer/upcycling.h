// Upcycling as a person runs it: from a dense model and options to a checkpoint with experts, and a look at whether it
// is the same function.
#pragma once

#include <optional>
#include <string>

#include "config/parse.h"
#include "convert/upcycle.h"

namespace conclave {

struct UpcyclingReport {
  std::string directory;  ///< of the new checkpoint
  UpcyclingPlan plan;
  double billions = 0, active_billions = 0;
  /// Largest difference of logits between the dense and the new model on random tokens, and the largest dense logit;
  /// nothing for models too large to be run twice here.
  std::optional<double> difference, largest;
};

/// Takes the dense model of --load or --load-hf, writes iteration 0 of --save. Options of experts come from `parsed`,
/// everything else from the dense model. UserError if --save holds a checkpoint already.
UpcyclingReport upcycle_model(ParsedOptions parsed);

}  // namespace conclave
