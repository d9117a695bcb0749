// Small ops on whole tensors.
#pragma once

#include <vector>

#include "base/philox.h"
#include "kernels/kernel.h"
#include "tensor/shard.h"

namespace conclave::kernels {

/// Every element = value, rounded to the dtype. f32, bf16, f64, i32, i64, u8.
struct FillArgs {
  Tensor x;
  double value = 0;
};
void fill(const Stream& stream, const FillArgs& args);
Cost fill_cost(const FillArgs& args);

/// y = x in another dtype (f32, bf16, f64 in any pair; f64 to bf16 by way of f32), or a plain copy of any dtype.
/// Element counts must agree, shapes need not.
struct CastArgs {
  Tensor x, y;
};
void cast(const Stream& stream, const CastArgs& args);
Cost cast_cost(const CastArgs& args);

/// y (+)= scale * x, f32/bf16/f64 of one dtype (arithmetic f32 for bf16, one rounding). y may alias x.
struct ScaleArgs {
  Tensor x, y;
  double scale = 1;
  Tensor device_scale;  ///< [1] f32, multiplied in as well; optional
  Accumulate accumulate = Accumulate::kOverwrite;
};
void scale(const Stream& stream, const ScaleArgs& args);
Cost scale_cost(const ScaleArgs& args);

/// out [N] f32 += column sums of x [R,N] f32 or bf16 (bias gradients), in an order that depends on R alone.
struct ColumnSumArgs {
  Tensor x, out;
};
void column_sum(const Stream& stream, const ColumnSumArgs& args);
Cost column_sum_cost(const ColumnSumArgs& args);

/// y [R,W] = value * sigmoid(gate), gate [R] f32: one gate per row (shared expert). value and y f32 or bf16.
struct RowGateForwardArgs {
  Tensor value, gate, y;
};
void row_gate_forward(const Stream& stream, const RowGateForwardArgs& args);
Cost row_gate_forward_cost(const RowGateForwardArgs& args);
/// dvalue = dy * sigmoid(gate); dgate [R] f32 = sum_w(dy * value) * sigmoid'(gate).
struct RowGateBackwardArgs {
  Tensor dy, value, gate, dvalue, dgate;
};
void row_gate_backward(const Stream& stream, const RowGateBackwardArgs& args);
Cost row_gate_backward_cost(const RowGateBackwardArgs& args);

/// y = x * uniform(1 - epsilon, 1 + epsilon): router input jitter. Element (s,h) of sequence b takes element
/// (s + sequence_offset)*H + h of streams[b]. x, y [S,B,H] f32 or bf16; y may alias x. The gradient is the same op on
/// dy.
struct JitterArgs {
  Tensor x, y;
  float epsilon = 0;
  std::vector<RandomStream> streams;
  int64_t sequence_offset = 0;
};
void jitter(const Stream& stream, const JitterArgs& args);
Cost jitter_cost(const JitterArgs& args);

/// Initial weights: element i of the shard = mean + std * normal(global index), or uniform in [low, high).
enum class RandomKind { kNormal, kUniform };
struct RandomFillArgs {
  Tensor x;         ///< f32
  ShardSpec shard;  ///< which global elements x holds
  RandomKind kind = RandomKind::kNormal;
  double a = 0, b = 1;  ///< mean and std, or low and high
  RandomStream source{0, ""};
};
void random_fill(const Stream& stream, const RandomFillArgs& args);
Cost random_fill_cost(const RandomFillArgs& args);

/// count [1] i64 = number of NaN or infinite elements of x (f32 or bf16).
struct CountNonFiniteArgs {
  Tensor x, count;
};
void count_nonfinite(const Stream& stream, const CountNonFiniteArgs& args);
Cost count_nonfinite_cost(const CountNonFiniteArgs& args);

/// out [1] f32 = largest |x|, x f32 or bf16; 0 of nothing; NaN if any element is.
struct AbsMaxArgs {
  Tensor x, out;
};
void abs_max(const Stream& stream, const AbsMaxArgs& args);
Cost abs_max_cost(const AbsMaxArgs& args);

}  // namespace conclave::kernels
