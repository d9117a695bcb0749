// Dropout keyed by (sample, element), added to a residual.
#pragma once

#include <vector>

#include "base/philox.h"
#include "kernels/kernel.h"

namespace conclave::kernels {

/// out [S,B,H] = residual + keep * x / (1 - rate); element (s, h) of sequence b keeps if streams[b].uniform(s*H + h) >=
/// rate. rate 0: a plain sum. residual optional (then out = dropped x). out may alias x or residual. f32 or bf16.
/// `sequence_offset`: global position of row s = 0.
struct DropoutAddArgs {
  Tensor x, residual, out;
  float rate = 0;
  std::vector<RandomStream> streams;  ///< B of them; empty if rate is 0
  int64_t sequence_offset = 0;
};
void dropout_add(const Stream& stream, const DropoutAddArgs& args);
Cost dropout_add_cost(const DropoutAddArgs& args);
// The gradient of x is dropout_add of dy without residual, with the same streams.

}  // namespace conclave::kernels
