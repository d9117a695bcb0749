// Rotary position embedding (Su et al. 2021), in place.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// Rotates the first D' = 2 * frequencies.size(0) elements of each head; the rest passes through.
/// Half-split: pairs (i, i + D'/2). Interleaved: pairs (2i, 2i+1).
/// x [B,n,S,D] f32 or bf16; positions [B,S] i32; frequencies [D'/2] f32 (angle = position * frequency, rounded to f32);
/// cos and sin are multiplied by `scale` (YaRN's mscale; 1 otherwise). `inverse` turns the other way: the backward
/// pass.
struct RopeArgs {
  Tensor x, positions, frequencies;
  bool interleaved = false;
  bool inverse = false;
  float scale = 1;
};
void rope(const Stream& stream, const RopeArgs& args);
Cost rope_cost(const RopeArgs& args);

}  // namespace conclave::kernels
