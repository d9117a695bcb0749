// Activations of the feed-forward layers, plain and gated, times an optional weight per row (the routing probability).
#pragma once

#include <string_view>

#include "kernels/kernel.h"

namespace conclave::kernels {

/// Gated kinds take [R,2F] (gate half, then linear half) and give act(gate) * (linear + glu_linear_offset).
enum class ActivationKind {
  kGelu,       ///< x Φ(x), erf form
  kGeluTanh,   ///< 0.5 x (1 + tanh(√(2/π)(x + 0.044715 x³)))
  kQuickGelu,  ///< x σ(1.702 x)
  kSilu,       ///< x σ(x)
  kRelu,
  kSquaredRelu,  ///< max(x,0)²
  kSwiGlu,       ///< gated SiLU (Shazeer 2020)
  kGeGlu,        ///< gated GELU, erf form
  kGeGluTanh,    ///< gated GELU, tanh form
  kQuickGeGlu,   ///< gated quick GELU
};
bool is_gated(ActivationKind kind);
std::string_view activation_name(ActivationKind kind);

/// y [R,F] = act(x) * row_weight. x [R,F] or [R,2F], f32 or bf16 (arithmetic f32); row_weight [R] f32, optional.
/// `row_count` (optional, [1] i64 on the device): rows from there on are left alone.
/// clamp > 0: gate clamped above at clamp, linear half to [-clamp, clamp] (plain kinds: input clamped above).
struct ActivationForwardArgs {
  ActivationKind kind = ActivationKind::kSwiGlu;
  Tensor x, y;
  Tensor row_weight;
  Tensor row_count;
  float clamp = 0;
  float linear_offset = 0;
};
void activation_forward(const Stream& stream, const ActivationForwardArgs& args);
Cost activation_forward_cost(const ActivationForwardArgs& args);

/// dx like x; drow_weight [R] f32 = sum over F of dy * act(x), only if row_weight is given.
struct ActivationBackwardArgs {
  ActivationKind kind = ActivationKind::kSwiGlu;
  Tensor dy, x, dx;
  Tensor row_weight, drow_weight;
  Tensor row_count;
  float clamp = 0;
  float linear_offset = 0;
};
void activation_backward(const Stream& stream, const ActivationBackwardArgs& args);
Cost activation_backward_cost(const ActivationBackwardArgs& args);

}  // namespace conclave::kernels
