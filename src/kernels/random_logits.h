// Forced balance: routing by noise, for benchmarks.
#pragma once

#include <optional>
#include <vector>

#include "base/philox.h"
#include "kernels/kernel.h"

namespace conclave::kernels {

/// logits [T,E] (f32, f64 or bf16) = standard normals: element (s + sequence_offset)*E + e of streams[b], row t = s*B +
/// b; plus, where there is a bias stream, bias_deviation * its element e.
struct RandomLogitsArgs {
  Tensor logits;
  std::vector<RandomStream> streams;  ///< B of them
  int64_t sequence_offset = 0;        ///< global position of s = 0
  std::optional<RandomStream> bias;
  double bias_deviation = 0;
};
void random_logits(const Stream& stream, const RandomLogitsArgs& args);
Cost random_logits_cost(const RandomLogitsArgs& args);

}  // namespace conclave::kernels
