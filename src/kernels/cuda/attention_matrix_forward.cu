#include "device/cuda/cuda_check.h"
#include "kernels/cuda/attention_matrix.h"
#include "kernels/cuda/attention_matrix_tile.h"

namespace conclave::kernels::cuda {
namespace {

using Args = PlainAttention<__nv_bfloat16>;

template <typename Combine>
__device__ float over_four(float value, Combine combine) {
  value = combine(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return combine(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

/// A tile of queries of one head, in two passes over the keys: the sums of exponentials, then what they weigh. Four
/// threads share a row of scores.
template <int kColumns>
class ForwardBlock {
 public:
  __device__ ForwardBlock(const Args& args, uint8_t* memory)
      : a_(args),
        b_(args.first_batch + blockIdx.z),
        head_(blockIdx.y),
        group_(static_cast<int>(blockIdx.y) / (args.heads / args.groups)),
        // The longest rows of a causal mask go first.
        top_((gridDim.x - 1 - blockIdx.x) * kMatrixTile),
        sight_(sight_of(args, b_, top_ + row_)),
        q_(reinterpret_cast<__nv_bfloat16*>(memory)),
        k_(q_ + matrix_tile_bytes(args.size) / 2),
        v_(k_ + matrix_tile_bytes(args.size) / 2),
        scores_(reinterpret_cast<float*>(v_ + matrix_tile_bytes(args.value_size) / 2)),
        weights_(reinterpret_cast<__nv_bfloat16*>(scores_ + kScoreBytes / 4)) {}

  __device__ void run() {
    fetch_rows(q_, a_.q + query_at(a_, b_, head_, top_) * a_.size, a_.size, a_.queries - top_, a_.size);
    for (int left = 0; left < a_.keys; left += kMatrixTile) {
      if (!tiles_meet<kMatrixTile>(a_, b_, top_, left)) continue;
      make_scores(left);
      take_scores(left);
    }
    const float lse = finish_sums();
    clear(sums_);
    for (int left = 0; left < a_.keys; left += kMatrixTile) {
      if (!tiles_meet<kMatrixTile>(a_, b_, top_, left)) continue;
      fetch_rows(v_, a_.v + key_at(a_, b_, group_, left) * a_.value_size, a_.value_size, a_.keys - left, a_.value_size);
      make_scores(left);
      weigh(left, lse);
      __syncthreads();
      add_weighted_rows<false>(sums_, weights_, v_, a_.value_size);
      __syncthreads();
    }
    write_rows(a_.out + out_at(a_, b_, head_, top_) * a_.value_size,
               static_cast<int64_t>(a_.batch) * a_.heads * a_.value_size, reinterpret_cast<float*>(q_), sums_,
               a_.queries - top_, a_.value_size);
  }

 private:
  __device__ void make_scores(int left) {
    fetch_rows(k_, a_.k + key_at(a_, b_, group_, left) * a_.size, a_.size, a_.keys - left, a_.size);
    __syncthreads();
    row_products(scores_, q_, k_, a_.size);
    __syncthreads();
  }
  __device__ int column(int j) const { return static_cast<int>(threadIdx.x) % 4 + 4 * j; }
  /// Scaled; -inf where the query does not see the key.
  __device__ float score(int left, int j) const {
    return sight_.sees(left + column(j)) ? scores_[row_ * kScoreApart + column(j)] * a_.scale : -INFINITY;
  }

  __device__ void take_scores(int left) {
    float most = most_;
    for (int j = 0; j < 16; ++j) most = fmaxf(most, score(left, j));
    const float base = most == -INFINITY ? 0.0f : most;
    sum_ *= expf(most_ - base);
    for (int j = 0; j < 16; ++j) sum_ += expf(score(left, j) - base);
    most_ = most;
  }

  /// Of the row, in all its threads: log of the sum of exponentials, with the sink's.
  __device__ float finish_sums() {
    float most = over_four(most_, [](float a, float b) { return fmaxf(a, b); });
    float sum = sum_ * (most == -INFINITY ? 1.0f : expf(most_ - most));
    sum = over_four(sum, [](float a, float b) { return a + b; });
    const int query = top_ + row_;
    const int64_t at = query_at(a_, b_, head_, query);
    const bool writes = threadIdx.x % 4 == 0 && query < a_.queries;
    if (a_.max_logit != nullptr && writes) a_.max_logit[at] = most;
    if (a_.sink != nullptr) {
      const float sink = as_float(a_.sink[head_]);
      sum = sum > 0 ? sum + expf(sink - most) : 1.0f;
      most = most == -INFINITY ? sink : most;
    }
    const float lse = most + logf(sum);
    if (a_.lse != nullptr && writes) a_.lse[at] = lse;
    return lse;
  }

  __device__ void weigh(int left, float lse) {
    for (int j = 0; j < 16; ++j) {
      const float x = score(left, j);
      float p = 0;
      if (x != -INFINITY) p = expf(x - lse) * kept(a_, b_, head_, top_ + row_, left + column(j));
      weights_[row_ * kWeightApart + column(j)] = __float2bfloat16_rn(p);
    }
  }

  const Args& a_;
  int b_, head_, group_, top_;
  int row_ = static_cast<int>(threadIdx.x) / 4;
  Sight sight_;
  __nv_bfloat16 *q_, *k_, *v_;
  float* scores_;
  __nv_bfloat16* weights_;
  float most_ = -INFINITY, sum_ = 0;  ///< of this thread's part of the row
  MatrixSums sums_[kColumns];
};

template <int kColumns>
__global__ void __launch_bounds__(kAttentionThreads, kColumns <= 4 ? 2 : 1)
    forward_block(const __grid_constant__ Args args) {
  extern __shared__ __align__(128) uint8_t memory[];
  ForwardBlock<kColumns>(args, memory).run();
}

template <int kColumns>
void launch(const Args& args, cudaStream_t stream) {
  const int bytes = 2 * matrix_tile_bytes(args.size) + matrix_tile_bytes(args.value_size) + kScoreBytes + kWeightBytes;
  const int out_bytes = kMatrixTile * matrix_apart(args.value_size) * 4;
  const int most = bytes > out_bytes ? bytes : out_bytes;
  const dim3 grid(static_cast<unsigned>((args.queries + kMatrixTile - 1) / kMatrixTile),
                  static_cast<unsigned>(args.heads), static_cast<unsigned>(args.batches));
  CONCLAVE_CUDA(cudaFuncSetAttribute(forward_block<kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  forward_block<kColumns><<<grid, kAttentionThreads, static_cast<size_t>(most), stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
}

}  // namespace

bool matrix_attention_serves(const Args& a) {
  for (const void* pointer : {static_cast<const void*>(a.q), static_cast<const void*>(a.k),
                              static_cast<const void*>(a.v), static_cast<const void*>(a.dout)})
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return false;
  return a.size % 8 == 0 && a.value_size % 8 == 0 && a.size > 0 && a.value_size > 0;
}

void matrix_attention_forward(const Args& args, cudaStream_t stream) {
  if (args.value_size <= 64) {
    launch<2>(args, stream);
  } else if (args.value_size <= 128) {
    launch<4>(args, stream);
  } else {
    launch<8>(args, stream);
  }
}

}  // namespace conclave::kernels::cuda
