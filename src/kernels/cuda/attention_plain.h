// Attention by ordinary f32 arithmetic: every mask, dropout, sinks, any head size up to 256.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/random_bits.h"

namespace conclave::kernels::cuda {

inline constexpr int kPlainHeadSize = 256;  ///< largest D and Dv
inline constexpr int kStreamsAtOnce = 32;   ///< sequences of one launch, where there is dropout

/// Pointers and sizes of one launch; tensors as in attention.h, T being f32 or bf16. Backward only: from dout on.
template <typename T>
struct PlainAttention {
  int batch = 0, heads = 0, groups = 0, queries = 0, keys = 0, key_stride = 0, size = 0, value_size = 0;
  int first_batch = 0, batches = 0;  ///< of this launch
  int64_t first_head = 0, first_query = 0, first_key = 0, all_queries = 0, all_keys = 0;
  bool causal = true;
  int64_t window = 0;
  float scale = 1, dropout = 0;
  const int32_t* document_starts = nullptr;
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  const T* sink = nullptr;
  T* out = nullptr;
  float* lse = nullptr;
  float* max_logit = nullptr;
  const T* dout = nullptr;
  const T* forward_out = nullptr;
  float* delta = nullptr;  ///< [B,n,S]: dout · out
  T* dq = nullptr;
  T* dk = nullptr;
  T* dv = nullptr;
  float* dsink = nullptr;
  RandomNumbers streams[kStreamsAtOnce];
};

template <typename T>
void plain_attention_forward(const PlainAttention<T>& args, cudaStream_t stream);
/// delta of all sequences, and what it adds to dsink.
template <typename T>
void plain_attention_delta(const PlainAttention<T>& args, cudaStream_t stream);
/// dq, dk and dv, from delta.
template <typename T>
void plain_attention_backward(const PlainAttention<T>& args, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
