// Attention of bf16 on the matrix units: every mask, dropout and sinks, head sizes up to 256 that are multiples of
// eight. Slower than cuDNN, which takes fewer cases; far faster than ordinary arithmetic.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/attention_plain.h"

namespace conclave::kernels::cuda {

/// Whether sizes and alignment suit it.
bool matrix_attention_serves(const PlainAttention<__nv_bfloat16>& args);

void matrix_attention_forward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream);
/// dq, dk and dv, from delta (plain_attention_delta).
void matrix_attention_backward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
