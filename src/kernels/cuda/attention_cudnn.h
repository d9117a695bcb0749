// Attention by cuDNN's fused kernels: bf16, no dropout, no documents, no sinks.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace conclave::kernels::cuda {

/// Sizes and pointers; tensors as in attention.h. Queries stand at the end of the keys.
struct LibraryAttention {
  int64_t batch = 0, heads = 0, groups = 0, queries = 0, keys = 0, key_stride = 0, size = 0, value_size = 0;
  bool causal = true;
  bool deterministic = true;  ///< backward: the same bits in every run; costs scratch and time
  /// Such gradients hold the gradients at the scores of the heads at work: heads are taken in parts of this much.
  int64_t most_score_bytes = int64_t{512} << 20;
  int64_t window = 0;
  float scale = 1;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;
  float* lse = nullptr;  ///< forward: optional
  // Backward.
  const void* dout = nullptr;
  void* dq = nullptr;
  void* dk = nullptr;
  void* dv = nullptr;
};

enum class AttentionPass { kForward, kBackward };

/// Scratch for a pass over these sizes; -1 where cuDNN is not there or does not take them.
int64_t cudnn_attention_workspace(const LibraryAttention& sizes, AttentionPass pass);
/// Only where the workspace is not -1.
void cudnn_attention(const LibraryAttention& args, AttentionPass pass, void* workspace, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
