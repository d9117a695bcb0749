// Which documents a step of a run trained on.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/inspect.h"

namespace conclave {

/// Samples of iteration N of a run directory: data set, document, offset, and the text (or ids without a tokenizer).
/// From the run's own options.yaml; the data must still be there.
Inspection inspect_step(const std::string& run_directory, int64_t iteration);

}  // namespace conclave
