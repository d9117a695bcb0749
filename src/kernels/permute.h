// Rows to experts and back. Order is expert-major, then token order inside each expert (stable); no atomics anywhere.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// From a routing [T,K] to the plan of a permutation. P = rows capacity: T*K (dropless) or E*capacity (padded to
/// capacity).
struct PermutationPlanArgs {
  Tensor experts;  ///< [T,K] i32 in: expert of choice k of token t, -1 = dropped
  int64_t expert_count = 0;
  int64_t capacity = 0;  ///< > 0: every expert has exactly this many rows; free ones are fillers (token -1)
  // out:
  Tensor counts;     ///< [E] i64 rows of each expert (fillers counted)
  Tensor offsets;    ///< [E+1] i64
  Tensor row_token;  ///< [P] i32 source token of each row; -1 for fillers and for rows beyond offsets[E]
  Tensor row_slot;   ///< [P] i32 t*K + k of each row; -1 likewise
  Tensor slot_row;   ///< [T,K] i32 row of each choice; -1 = dropped
};
void permutation_plan(const Stream& stream, const PermutationPlanArgs& args);
Cost permutation_plan_cost(const PermutationPlanArgs& args);

/// out [P,W] = x[row_token[p]]; rows of token -1 become zero. Any dtype.
struct GatherRowsArgs {
  Tensor x, row_token, out;
};
void gather_rows(const Stream& stream, const GatherRowsArgs& args);
Cost gather_rows_cost(const GatherRowsArgs& args);

/// out [T,W] (+)= sum over k of rows[slot_row[t,k]] * weight[t,k] in order of k; -1 contributes nothing. Sum in f32,
/// one rounding. weight [T,K] f32 optional. This is unpermute forward, and permute's backward.
struct CombineRowsArgs {
  Tensor rows, slot_row, weight, out;
  Accumulate accumulate = Accumulate::kOverwrite;
};
void combine_rows(const Stream& stream, const CombineRowsArgs& args);
Cost combine_rows_cost(const CombineRowsArgs& args);

/// out[p] [P] f32 = values[row_slot[p]] (values [T,K] flat, f32 or f64); 0 where row_slot is -1.
struct GatherSlotsArgs {
  Tensor values, row_slot, out;
};
void gather_slots(const Stream& stream, const GatherSlotsArgs& args);
Cost gather_slots_cost(const GatherSlotsArgs& args);

/// The inverse: values[t,k] = rows[slot_row[t,k]] (rows [P] f32), 0 where dropped. values f32 or f64.
struct ScatterSlotsArgs {
  Tensor rows, slot_row, values;
};
void scatter_slots(const Stream& stream, const ScatterSlotsArgs& args);
Cost scatter_slots_cost(const ScatterSlotsArgs& args);

}  // namespace conclave::kernels
