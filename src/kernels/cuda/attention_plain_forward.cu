#include "device/cuda/cuda_check.h"
#include "kernels/cuda/attention_tile.h"

namespace conclave::kernels::cuda {
namespace {

/// Running softmax of a thread's rows, the same in the 16 threads that share a row.
template <int kPer>
struct Softmax {
  float most[kPer], sum[kPer];

  __device__ Softmax() {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      most[i] = -INFINITY;
      sum[i] = 0;
    }
  }
};

template <typename Combine>
__device__ float over_row(float value, Combine combine) {
#pragma unroll
  for (int step = 8; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

template <typename T, int kTile, int kColumns>
class ForwardBlock {
 public:
  static constexpr int kPer = kTile / 16;

  __device__ ForwardBlock(const PlainAttention<T>& args, float* memory)
      : a_(args),
        b_(args.first_batch + blockIdx.z),
        head_(blockIdx.y),
        group_(static_cast<int>(blockIdx.y) / (args.heads / args.groups)),
        // The longest rows of a causal mask go first.
        top_((gridDim.x - 1 - blockIdx.x) * kTile),
        q_(memory),
        k_(q_ + kTile * tile_stride(args.size)),
        v_(k_ + kTile * tile_stride(args.size)),
        p_(v_ + kTile * tile_stride(args.value_size)) {}

  __device__ void run() {
    fetch_tile<kTile>(q_, a_.q + query_at(a_, b_, head_, top_) * a_.size, a_.size, a_.queries - top_, a_.size);
    int first = INT_MAX, last = -1;
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      sight_[i] = sight_of(a_, b_, top_ + y_ + 16 * i);
      first = min(first, sight_[i].first);
      last = max(last, sight_[i].last);
    }
    first = bound(first, false);
    last = bound(last, true);
    clear(sums_);
    for (int left = first / kTile * kTile; left <= last; left += kTile) take_keys(left);
    write();
  }

 private:
  /// Over the block.
  __device__ int bound(int value, bool largest) {
    __shared__ int shared;
    __syncthreads();
    if (threadIdx.x == 0) shared = value;
    __syncthreads();
    largest ? atomicMax(&shared, value) : atomicMin(&shared, value);
    __syncthreads();
    return shared;
  }

  __device__ void take_keys(int left) {
    __syncthreads();
    fetch_tile<kTile>(k_, a_.k + key_at(a_, b_, group_, left) * a_.size, a_.size, a_.keys - left, a_.size);
    fetch_tile<kTile>(v_, a_.v + key_at(a_, b_, group_, left) * a_.value_size, a_.value_size, a_.keys - left,
                      a_.value_size);
    __syncthreads();
    float scores[kPer][kPer];
    clear(scores);
    add_row_products(scores, q_, k_, a_.size);
#pragma unroll
    for (int i = 0; i < kPer; ++i) weigh_row(i, left, scores[i]);
    __syncthreads();
    add_mixture<kTile, kPer>(sums_, p_, kTile + 1, 1, v_, a_.value_size);
  }

  /// Scores of a row to probabilities relative to the row's maximum so far.
  __device__ void weigh_row(int i, int left, float (&scores)[kPer]) {
    const int query = top_ + y_ + 16 * i;
    float most = -INFINITY;
#pragma unroll
    for (int j = 0; j < kPer; ++j) {
      scores[j] = sight_[i].sees(left + x_ + 16 * j) ? scores[j] * a_.scale : -INFINITY;
      most = fmaxf(most, scores[j]);
    }
    most = fmaxf(softmax_.most[i], over_row(most, [](float a, float b) { return fmaxf(a, b); }));
    const float shrink = most == -INFINITY ? 1.0f : expf(softmax_.most[i] - most);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kPer; ++j) {
      const int key = left + x_ + 16 * j;
      const float p = sight_[i].sees(key) ? expf(scores[j] - most) : 0.0f;
      sum += p;
      p_[(y_ + 16 * i) * (kTile + 1) + x_ + 16 * j] = p == 0 ? 0.0f : p * kept(a_, b_, head_, query, key);
    }
    softmax_.sum[i] = softmax_.sum[i] * shrink + over_row(sum, [](float a, float b) { return a + b; });
    softmax_.most[i] = most;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sums_[i][c] *= shrink;
  }

  __device__ void write() {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int query = top_ + y_ + 16 * i;
      if (query >= a_.queries) continue;
      float most = softmax_.most[i], sum = softmax_.sum[i];
      const int64_t row = query_at(a_, b_, head_, query);
      if (a_.max_logit != nullptr && x_ == 0) a_.max_logit[row] = most;
      if (a_.sink != nullptr) {
        const float sink = as_float(a_.sink[head_]);
        sum = sum > 0 ? sum + expf(sink - most) : 1.0f;
        most = most == -INFINITY ? sink : most;
      }
      if (a_.lse != nullptr && x_ == 0) a_.lse[row] = most + logf(sum);
      const float factor = sum == 0 ? 0.0f : 1 / sum;
      T* const out = a_.out + out_at(a_, b_, head_, query) * a_.value_size;
#pragma unroll
      for (int c = 0; c < kColumns; ++c)
        if (x_ + 16 * c < a_.value_size) store_as(out + x_ + 16 * c, sums_[i][c] * factor);
    }
  }

  const PlainAttention<T>& a_;
  int b_, head_, group_, top_;
  int y_ = threadIdx.x / 16, x_ = threadIdx.x % 16;
  float *q_, *k_, *v_, *p_;
  Sight sight_[kPer];
  Softmax<kPer> softmax_;
  float sums_[kPer][kColumns];
};

template <typename T, int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) forward_block(const __grid_constant__ PlainAttention<T> args) {
  extern __shared__ float4 memory[];
  ForwardBlock<T, kTile, kColumns>(args, reinterpret_cast<float*>(memory)).run();
}

template <typename T, int kTile, int kColumns>
void launch(const PlainAttention<T>& args, cudaStream_t stream) {
  const int floats = kTile * (2 * tile_stride(args.size) + tile_stride(args.value_size) + kTile + 1);
  const int bytes = floats * static_cast<int>(sizeof(float));
  const dim3 grid(static_cast<unsigned>((args.queries + kTile - 1) / kTile), static_cast<unsigned>(args.heads),
                  static_cast<unsigned>(args.batches));
  CONCLAVE_CUDA(
      cudaFuncSetAttribute(forward_block<T, kTile, kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  forward_block<T, kTile, kColumns><<<grid, kAttentionThreads, static_cast<size_t>(bytes), stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
}

}  // namespace

template <typename T>
void plain_attention_forward(const PlainAttention<T>& args, cudaStream_t stream) {
  if (args.value_size <= 64) {
    launch<T, 64, 4>(args, stream);
  } else if (args.value_size <= 128) {
    launch<T, 64, 8>(args, stream);
  } else {
    launch<T, 32, 16>(args, stream);
  }
}
template void plain_attention_forward(const PlainAttention<float>& args, cudaStream_t stream);
template void plain_attention_forward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
