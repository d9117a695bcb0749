#include "device/cuda/cuda_check.h"
#include "kernels/cuda/attention_matrix.h"
#include "kernels/cuda/attention_matrix_tile.h"

namespace conclave::kernels::cuda {
namespace {

using Args = PlainAttention<__nv_bfloat16>;

/// What the two kernels below have in common: tiles of queries and keys, and the gradient at the scores between them.
class BackwardBlock {
 public:
  __device__ BackwardBlock(const Args& args, uint8_t* memory)
      : a_(args),
        b_(args.first_batch + blockIdx.z),
        q_(reinterpret_cast<__nv_bfloat16*>(memory)),
        k_(q_ + matrix_tile_bytes(args.size) / 2),
        v_(k_ + matrix_tile_bytes(args.size) / 2),
        dout_(v_ + matrix_tile_bytes(args.value_size) / 2),
        scores_(reinterpret_cast<float*>(dout_ + matrix_tile_bytes(args.value_size) / 2)),
        along_(scores_ + kScoreBytes / 4) {}

 protected:
  __device__ void fetch_queries(int head, int top) {
    fetch_rows(q_, a_.q + query_at(a_, b_, head, top) * a_.size, a_.size, a_.queries - top, a_.size);
    fetch_rows(dout_, a_.dout + out_at(a_, b_, head, top) * a_.value_size,
               static_cast<int64_t>(a_.batch) * a_.heads * a_.value_size, a_.queries - top, a_.value_size);
  }
  __device__ void fetch_keys(int group, int left) {
    fetch_rows(k_, a_.k + key_at(a_, b_, group, left) * a_.size, a_.size, a_.keys - left, a_.size);
    fetch_rows(v_, a_.v + key_at(a_, b_, group, left) * a_.value_size, a_.value_size, a_.keys - left, a_.value_size);
  }
  /// What multiplies dout in dv, and the gradient at scaled scores times the scale; rows are queries. They take the
  /// place of the scores and of dout · v that they are made from.
  __device__ __nv_bfloat16* probabilities() const { return reinterpret_cast<__nv_bfloat16*>(scores_); }
  __device__ __nv_bfloat16* gradients() const { return reinterpret_cast<__nv_bfloat16*>(along_); }

  __device__ void make_gradients(int head, int top, int left) {
    __syncthreads();
    row_products(scores_, q_, k_, a_.size);
    row_products(along_, dout_, v_, a_.value_size);
    __syncthreads();
    const int row = static_cast<int>(threadIdx.x) / 4, first = static_cast<int>(threadIdx.x) % 4, query = top + row;
    const Sight sight = sight_of(a_, b_, query);
    const int64_t at = query_at(a_, b_, head, query);
    const float lse = query < a_.queries ? a_.lse[at] : 0, delta = query < a_.queries ? a_.delta[at] : 0;
    float p[16], ds[16];
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const int column = first + 4 * j, key = left + column, place = row * kScoreApart + column;
      p[j] = ds[j] = 0;
      if (!sight.sees(key)) continue;
      const float chance = expf(scores_[place] * a_.scale - lse), stays = kept(a_, b_, head, query, key);
      p[j] = chance * stays;
      ds[j] = chance == 0 ? 0.0f : chance * (stays * along_[place] - delta) * a_.scale;
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      probabilities()[row * kWeightApart + first + 4 * j] = __float2bfloat16_rn(p[j]);
      gradients()[row * kWeightApart + first + 4 * j] = __float2bfloat16_rn(ds[j]);
    }
    __syncthreads();
  }
  __device__ float* memory() const { return reinterpret_cast<float*>(q_); }

  const Args& a_;
  int b_;
  __nv_bfloat16 *q_, *k_, *v_, *dout_;
  float *scores_, *along_;
};

/// Gradients of a tile of keys: all queries of all heads of their group, in order.
template <int kColumns>
class KeyBlock : BackwardBlock {
 public:
  using BackwardBlock::BackwardBlock;

  __device__ void run() {
    const int left = static_cast<int>(blockIdx.x) * kMatrixTile, group = static_cast<int>(blockIdx.y);
    const int heads = a_.heads / a_.groups;
    fetch_keys(group, left);
    clear(dk_);
    clear(dv_);
    for (int head = group * heads; head < (group + 1) * heads; ++head) {
      for (int top = first_top<kMatrixTile>(a_, left); top < a_.queries; top += kMatrixTile) {
        if (!tiles_meet<kMatrixTile>(a_, b_, top, left)) continue;
        fetch_queries(head, top);
        make_gradients(head, top, left);
        add_weighted_rows<true>(dv_, probabilities(), dout_, a_.value_size);
        add_weighted_rows<true>(dk_, gradients(), q_, a_.size);
      }
    }
    const int64_t at = key_at(a_, b_, group, left);
    write_rows(a_.dk + at * a_.size, a_.size, memory(), dk_, a_.keys - left, a_.size);
    write_rows(a_.dv + at * a_.value_size, a_.value_size, memory(), dv_, a_.keys - left, a_.value_size);
  }

 private:
  MatrixSums dk_[kColumns], dv_[kColumns];
};

/// Gradients of a tile of queries of one head.
template <int kColumns>
class QueryBlock : BackwardBlock {
 public:
  using BackwardBlock::BackwardBlock;

  __device__ void run() {
    const int top = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kMatrixTile, head = static_cast<int>(blockIdx.y);
    const int group = head / (a_.heads / a_.groups);
    fetch_queries(head, top);
    clear(dq_);
    for (int left = 0; left < a_.keys; left += kMatrixTile) {
      if (!tiles_meet<kMatrixTile>(a_, b_, top, left)) continue;
      fetch_keys(group, left);
      make_gradients(head, top, left);
      add_weighted_rows<false>(dq_, gradients(), k_, a_.size);
    }
    write_rows(a_.dq + query_at(a_, b_, head, top) * a_.size, a_.size, memory(), dq_, a_.queries - top, a_.size);
  }

 private:
  MatrixSums dq_[kColumns];
};

template <int kColumns>
__global__ void __launch_bounds__(kAttentionThreads, kColumns <= 4 ? 2 : 1)
    key_block(const __grid_constant__ Args args) {
  extern __shared__ __align__(128) uint8_t memory[];
  KeyBlock<kColumns>(args, memory).run();
}
template <int kColumns>
__global__ void __launch_bounds__(kAttentionThreads, kColumns <= 4 ? 2 : 1)
    query_block(const __grid_constant__ Args args) {
  extern __shared__ __align__(128) uint8_t memory[];
  QueryBlock<kColumns>(args, memory).run();
}

template <int kColumns>
void launch(const Args& args, cudaStream_t stream) {
  const int bytes = 2 * (matrix_tile_bytes(args.size) + matrix_tile_bytes(args.value_size) + kScoreBytes);
  const auto tiles = [](int count) { return static_cast<unsigned>((count + kMatrixTile - 1) / kMatrixTile); };
  const auto batch = static_cast<unsigned>(args.batches);
  if (args.keys > 0) {
    CONCLAVE_CUDA(cudaFuncSetAttribute(key_block<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    key_block<kColumns><<<dim3(tiles(args.keys), static_cast<unsigned>(args.groups), batch), kAttentionThreads,
                          static_cast<size_t>(bytes), stream>>>(args);
    CONCLAVE_CUDA(cudaGetLastError());
  }
  if (args.queries == 0) return;
  CONCLAVE_CUDA(cudaFuncSetAttribute(query_block<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  query_block<kColumns><<<dim3(tiles(args.queries), static_cast<unsigned>(args.heads), batch), kAttentionThreads,
                          static_cast<size_t>(bytes), stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
}

}  // namespace

void matrix_attention_backward(const Args& args, cudaStream_t stream) {
  const int widest = args.size > args.value_size ? args.size : args.value_size;
  if (widest <= 64) {
    launch<2>(args, stream);
  } else if (widest <= 128) {
    launch<4>(args, stream);
  } else {
    launch<8>(args, stream);
  }
}

}  // namespace conclave::kernels::cuda
