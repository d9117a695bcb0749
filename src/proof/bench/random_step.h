// Training steps on random tokens, for measuring.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/engine.h"

namespace conclave::proof {

/// The micro-batches of step `step`, of the whole job.
std::vector<MicroBatch> random_step(const Options& options, int64_t vocab, int64_t step);

/// One step, rates and all. `batches` of this data-parallel rank; `clip`: as StepRequest's.
void one_step(Engine& engine, const std::vector<MicroBatch>& batches, int64_t step, double clip);

}  // namespace conclave::proof
