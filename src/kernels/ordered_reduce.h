// Sums, maxima and minima over the buffers of several ranks, element by element.
#pragma once

#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace conclave {
class Stream;
}

namespace conclave::kernels {

enum class ReduceRule { kSum, kMax, kMin };

/// outputs[j][i] = inputs[0][i] op inputs[1][i] op ..., from left to right, for i < count and every j. f32, f64, bf16
/// (accumulated in f32, rounded once), i32, i64, u8 (integers modulo 2^bits). A NaN among the inputs gives NaN. Inputs
/// and outputs may be the same places, but not overlap otherwise. One thread.
struct OrderedReduceArgs {
  std::span<const std::byte* const> inputs;
  std::span<std::byte* const> outputs;
  int64_t count = 0;
  DType dtype = DType::kF32;
  ReduceRule rule = ReduceRule::kSum;
};
void ordered_reduce(const OrderedReduceArgs& args);

/// The same on a GPU (CUDA builds only): out[i] = pieces[0][i] op pieces[1][i] op ..., the same bits. `out` does not
/// overlap the pieces.
struct OrderedReduceOnGpuArgs {
  const std::byte* pieces = nullptr;
  int64_t piece_bytes = 0;  ///< from one piece to the next
  int64_t piece_count = 0;
  std::byte* out = nullptr;
  int64_t count = 0;
  DType dtype = DType::kF32;
  ReduceRule rule = ReduceRule::kSum;
};
void ordered_reduce_on_gpu(const Stream& stream, const OrderedReduceOnGpuArgs& args);

}  // namespace conclave::kernels
