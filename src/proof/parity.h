// A Hugging Face model against numbers made elsewhere: logits, loss and the gradient of every weight.
#pragma once

#include <string>
#include <vector>

#include "comm/world.h"
#include "config/parse.h"

namespace conclave::proof {

struct ParityRow {
  std::string name;       ///< "logits", "loss", "grad.model.norm.weight"
  double difference = 0;  ///< largest absolute one; NaN where a value is NaN
  double relative = 0;    ///< the same, of the tensor's largest value
  double allowed = 0;     ///< absolute
  std::string fault;      ///< instead of a comparison: what is missing
  bool passed() const { return fault.empty() && difference <= allowed; }
};

struct ParityReport {
  std::vector<ParityRow> rows;  ///< logits, loss, gradients in the order of the model
  double loss = 0;
  bool passed() const;
  /// Of the first row that did not pass; empty if all did.
  std::string first_fault() const;
};

/// `parsed`: layout, dtype and device of the run; the model comes from `directory`. Collective over `world`: the same
/// report on every rank.
ParityReport run_parity(const std::string& directory, const std::string& reference, ParsedOptions parsed, World& world);

/// The same by however many ranks `parsed` asks for (trainer/job.h).
ParityReport run_parity(const std::string& directory, const std::string& reference, const ParsedOptions& parsed);

}  // namespace conclave::proof
