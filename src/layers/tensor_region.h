// The two borders of a tensor-parallel region (Shoeybi et al. 2019; with sequence parallelism Korthikanti et al. 2022).
// Inside, each TP rank has every position and its own heads or columns. Outside, positions are shared out over TP
// (sequence parallelism) or held by every rank. Each border's backward is the other border.
#pragma once

#include "nn/context.h"

namespace conclave {

/// x [S/TP,B,H] -> [S,B,H] with sequence parallelism; x itself without.
Tensor enter_tensor_region(const Context& context, const Tensor& x, const char* name);
/// Partial results y [S,B,H] -> their sum: this rank's [S/TP,B,H] with sequence parallelism; without, in place.
Tensor leave_tensor_region(const Context& context, const Tensor& y, const char* name);
/// What enter_tensor_region() gives for a saved x, gathered again when it is asked for: no more is kept than x.
SavedTensor entered(const Context& context, const SavedTensor& x, const char* name);

}  // namespace conclave
