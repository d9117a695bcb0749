// What the depths of multi-token prediction read and are scored on: tokens, labels and mask moved left.
#pragma once

#include <cstdint>
#include <vector>

#include "data/batch_source.h"

namespace conclave {

/// All [B,S], moved left by depth + 1; places without a token are 0. Documents that are kept apart do not flow into
/// each other.
struct ShiftedFields {
  std::vector<int32_t> tokens, labels;
  std::vector<float> mask;
  double valid = 0;  ///< sum of mask
};

/// By depth, from 0.
std::vector<ShiftedFields> shifted_fields(const MicroBatch& batch, int64_t depths);

}  // namespace conclave
