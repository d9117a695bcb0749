// Two checkpoints, tensor by tensor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/reader.h"

namespace conclave {

struct TensorDifference {
  enum class Kind { kEqual, kValues, kDType, kShape, kOnlyInA, kOnlyInB };
  std::string name;
  Kind kind = Kind::kEqual;  ///< kEqual: same bits; kValues: same shape and dtype, other bits
  std::string a, b;          ///< kDType and kShape: what each has
  // For kValues. Relative to max(|a|, |b|). Infinite where one is NaN or infinite and the other is not the same.
  int64_t differing_elements = 0;
  double max_absolute = 0;
  double max_relative = 0;
  std::vector<int64_t> first_index;  ///< of the first element whose bits differ
  double first_a = 0, first_b = 0;
};

/// Sorted by name; equal tensors included. Reads both piece by piece.
std::vector<TensorDifference> compare_checkpoints(const CheckpointReader& a, const CheckpointReader& b);

}  // namespace conclave
