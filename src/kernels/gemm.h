// Dense matrix products: C = op(A) op(B) (+ bias), or added to C.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

enum class Transpose { kNo, kYes };

/// C [M,N] (+)= op(A) [M,K] · op(B) [K,N] + bias [N]. Row-major. Sums in f32 (f64 for f64).
/// dtypes (a,b -> c): f32,f32->f32; bf16,bf16->bf16; bf16,bf16->f32; f64,f64->f64. Any size, also zero.
struct GemmArgs {
  Tensor a;  ///< [M,K], or [K,M] if transpose_a
  Tensor b;  ///< [K,N], or [N,K] if transpose_b
  Tensor c;  ///< [M,N]
  Transpose transpose_a = Transpose::kNo;
  Transpose transpose_b = Transpose::kNo;
  Accumulate accumulate = Accumulate::kOverwrite;
  Tensor bias;  ///< [N] of b's dtype, optional; added once
};

void gemm(const Stream& stream, const GemmArgs& args);
Cost gemm_cost(const GemmArgs& args);
/// Scratch that the launcher takes on cpu and sim.
int64_t gemm_workspace_bytes(const GemmArgs& args);
/// oneDNN primitives made by this process so far: a steady training step makes none.
int64_t gemm_primitives_created();

/// The three products of a linear layer, weights stored [out, in]:
/// y [T,N] = x [T,K] W^T + bias.
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y);
/// dx [T,K] (+)= dy [T,N] W.
void linear_input_gradient(const Stream& stream, const Tensor& dy, const Tensor& weight, const Tensor& dx,
                           Accumulate accumulate = Accumulate::kOverwrite);
/// dW [N,K] f32 += dy^T x.
void linear_weight_gradient(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& dweight);

}  // namespace conclave::kernels
