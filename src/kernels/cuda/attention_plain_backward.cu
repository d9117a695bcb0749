#include "device/cuda/cuda_check.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/block_reduce.h"

namespace conclave::kernels::cuda {
namespace {

/// delta = dout · out: one warp per query.
template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) make_delta(const __grid_constant__ PlainAttention<T> a) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kAttentionThreads + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= static_cast<int64_t>(a.batch) * a.heads * a.queries) return;
  const int query = static_cast<int>(row % a.queries), head = static_cast<int>(row / a.queries % a.heads);
  const int64_t at = out_at(a, static_cast<int>(row / a.queries / a.heads), head, query) * a.value_size;
  float sum = 0;
  for (int d = lane; d < a.value_size; d += 32) sum += as_float(a.dout[at + d]) * as_float(a.forward_out[at + d]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) a.delta[row] = sum;
}

/// dsink[h] -= e^(sink - lse) delta over all queries: one block per head.
template <typename T>
__global__ void __launch_bounds__(kAttentionThreads) add_sink_gradient(const __grid_constant__ PlainAttention<T> a) {
  __shared__ float shared[32];
  const int head = static_cast<int>(blockIdx.x);
  const float sink = as_float(a.sink[head]);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < static_cast<int64_t>(a.batch) * a.queries; i += kAttentionThreads) {
    const int64_t row = query_at(a, static_cast<int>(i / a.queries), head, static_cast<int>(i % a.queries));
    sum += expf(sink - a.lse[row]) * a.delta[row];
  }
  sum = reduce_over_block(sum, shared, Add{});
  if (threadIdx.x == 0) a.dsink[head] -= sum;
}

/// What the two kernels below have in common: tiles of queries and keys, and the gradient at the scores between them.
template <typename T, int kTile>
class BackwardBlock {
 public:
  static constexpr int kPer = kTile / 16, kApart = kTile + 1;

  __device__ BackwardBlock(const PlainAttention<T>& args, float* memory)
      : a_(args),
        b_(args.first_batch + blockIdx.z),
        q_(memory),
        k_(q_ + kTile * tile_stride(args.size)),
        v_(k_ + kTile * tile_stride(args.size)),
        dout_(v_ + kTile * tile_stride(args.value_size)),
        p_(dout_ + kTile * tile_stride(args.value_size)),
        ds_(p_ + kTile * kApart) {}

 protected:
  __device__ void fetch_queries(int head, int top) {
    fetch_tile<kTile>(q_, a_.q + query_at(a_, b_, head, top) * a_.size, a_.size, a_.queries - top, a_.size);
    fetch_tile<kTile>(dout_, a_.dout + out_at(a_, b_, head, top) * a_.value_size,
                      static_cast<int64_t>(a_.batch) * a_.heads * a_.value_size, a_.queries - top, a_.value_size);
  }
  __device__ void fetch_keys(int group, int left) {
    fetch_tile<kTile>(k_, a_.k + key_at(a_, b_, group, left) * a_.size, a_.size, a_.keys - left, a_.size);
    fetch_tile<kTile>(v_, a_.v + key_at(a_, b_, group, left) * a_.value_size, a_.value_size, a_.keys - left,
                      a_.value_size);
  }

  /// p = what multiplies dout in dv; ds = gradient at scaled scores, times the scale. Rows are queries.
  __device__ void make_gradients(int head, int top, int left) {
    float scores[kPer][kPer], along[kPer][kPer];
    clear(scores);
    clear(along);
    add_row_products(scores, q_, k_, a_.size);
    add_row_products(along, dout_, v_, a_.value_size);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int query = top + y_ + 16 * i;
      const Sight sight = sight_of(a_, b_, query);
      const int64_t row = query_at(a_, b_, head, query);
      const bool here = query < a_.queries;
      const float lse = here ? a_.lse[row] : 0, delta = here ? a_.delta[row] : 0;
#pragma unroll
      for (int j = 0; j < kPer; ++j) {
        const int key = left + x_ + 16 * j;
        float p = 0, stays = 0;
        if (sight.sees(key)) {
          p = expf(scores[i][j] * a_.scale - lse);
          stays = kept(a_, b_, head, query, key);
        }
        const int at = (y_ + 16 * i) * kApart + x_ + 16 * j;
        p_[at] = p * stays;
        ds_[at] = p == 0 ? 0.0f : p * (stays * along[i][j] - delta) * a_.scale;
      }
    }
  }

  template <int kColumns>
  __device__ void write(T* to, int rows, int size, const float (&sums)[kPer][kColumns]) {
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int row = y_ + 16 * i, column = x_ + 16 * c;
        if (row < rows && column < size) store_as(to + static_cast<int64_t>(row) * size + column, sums[i][c]);
      }
    }
  }

  const PlainAttention<T>& a_;
  int b_;
  int y_ = threadIdx.x / 16, x_ = threadIdx.x % 16;
  float *q_, *k_, *v_, *dout_, *p_, *ds_;
};

/// Gradients of a tile of keys: all queries of all heads of their group, in order.
template <typename T, int kTile, int kColumns>
class KeyBlock : BackwardBlock<T, kTile> {
  using Base = BackwardBlock<T, kTile>;
  using Base::a_, Base::b_, Base::p_, Base::ds_, Base::q_, Base::dout_, Base::kPer, Base::kApart;

 public:
  using Base::Base;

  __device__ void run() {
    const int left = static_cast<int>(blockIdx.x) * kTile, group = static_cast<int>(blockIdx.y);
    const int heads = a_.heads / a_.groups;
    this->fetch_keys(group, left);
    clear(dk_);
    clear(dv_);
    for (int head = group * heads; head < (group + 1) * heads; ++head) {
      for (int top = first_top<kTile>(a_, left); top < a_.queries; top += kTile) {
        if (!tiles_meet<kTile>(a_, b_, top, left)) continue;
        this->fetch_queries(head, top);
        __syncthreads();
        this->make_gradients(head, top, left);
        __syncthreads();
        add_mixture<kTile, kPer>(dv_, p_, 1, kApart, dout_, a_.value_size);
        add_mixture<kTile, kPer>(dk_, ds_, 1, kApart, q_, a_.size);
        __syncthreads();
      }
    }
    const int64_t at = key_at(a_, b_, group, left);
    this->write(a_.dk + at * a_.size, a_.keys - left, a_.size, dk_);
    this->write(a_.dv + at * a_.value_size, a_.keys - left, a_.value_size, dv_);
  }

 private:
  float dk_[kPer][kColumns], dv_[kPer][kColumns];
};

/// Gradients of a tile of queries of one head.
template <typename T, int kTile, int kColumns>
class QueryBlock : BackwardBlock<T, kTile> {
  using Base = BackwardBlock<T, kTile>;
  using Base::a_, Base::b_, Base::ds_, Base::k_, Base::kPer, Base::kApart;

 public:
  using Base::Base;

  __device__ void run() {
    const int top = static_cast<int>(blockIdx.x) * kTile, head = static_cast<int>(blockIdx.y);
    const int group = head / (a_.heads / a_.groups);
    this->fetch_queries(head, top);
    clear(dq_);
    for (int left = 0; left < a_.keys; left += kTile) {
      if (!tiles_meet<kTile>(a_, b_, top, left)) continue;
      this->fetch_keys(group, left);
      __syncthreads();
      this->make_gradients(head, top, left);
      __syncthreads();
      add_mixture<kTile, kPer>(dq_, ds_, kApart, 1, k_, a_.size);
      __syncthreads();
    }
    this->write(a_.dq + query_at(a_, b_, head, top) * a_.size, a_.queries - top, a_.size, dq_);
  }

 private:
  float dq_[kPer][kColumns];
};

template <typename T, int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) key_block(const __grid_constant__ PlainAttention<T> args) {
  extern __shared__ float4 memory[];
  KeyBlock<T, kTile, kColumns>(args, reinterpret_cast<float*>(memory)).run();
}
template <typename T, int kTile, int kColumns>
__global__ void __launch_bounds__(kAttentionThreads) query_block(const __grid_constant__ PlainAttention<T> args) {
  extern __shared__ float4 memory[];
  QueryBlock<T, kTile, kColumns>(args, reinterpret_cast<float*>(memory)).run();
}

template <typename T, int kTile, int kColumns>
void launch(const PlainAttention<T>& args, cudaStream_t stream) {
  const int floats = kTile * 2 * (tile_stride(args.size) + tile_stride(args.value_size) + kTile + 1);
  const int bytes = floats * static_cast<int>(sizeof(float));
  const auto tiles = [](int count) { return static_cast<unsigned>((count + kTile - 1) / kTile); };
  const auto batch = static_cast<unsigned>(args.batches);
  if (args.keys > 0) {
    CONCLAVE_CUDA(
        cudaFuncSetAttribute(key_block<T, kTile, kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    key_block<T, kTile, kColumns><<<dim3(tiles(args.keys), static_cast<unsigned>(args.groups), batch),
                                    kAttentionThreads, static_cast<size_t>(bytes), stream>>>(args);
    CONCLAVE_CUDA(cudaGetLastError());
  }
  if (args.queries == 0) return;
  CONCLAVE_CUDA(
      cudaFuncSetAttribute(query_block<T, kTile, kColumns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  query_block<T, kTile, kColumns><<<dim3(tiles(args.queries), static_cast<unsigned>(args.heads), batch),
                                    kAttentionThreads, static_cast<size_t>(bytes), stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
}

}  // namespace

template <typename T>
void plain_attention_delta(const PlainAttention<T>& args, cudaStream_t stream) {
  const int64_t rows = static_cast<int64_t>(args.batch) * args.heads * args.queries;
  if (rows == 0) return;
  constexpr int kRows = kAttentionThreads / 32;
  make_delta<T><<<static_cast<unsigned>((rows + kRows - 1) / kRows), kAttentionThreads, 0, stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
  if (args.dsink == nullptr) return;
  add_sink_gradient<T><<<static_cast<unsigned>(args.heads), kAttentionThreads, 0, stream>>>(args);
  CONCLAVE_CUDA(cudaGetLastError());
}
template void plain_attention_delta(const PlainAttention<float>& args, cudaStream_t stream);
template void plain_attention_delta(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream);

template <typename T>
void plain_attention_backward(const PlainAttention<T>& args, cudaStream_t stream) {
  const int widest = args.size > args.value_size ? args.size : args.value_size;
  if (widest <= 64) {
    launch<T, 64, 4>(args, stream);
  } else if (widest <= 128) {
    launch<T, 64, 8>(args, stream);
  } else {
    launch<T, 32, 16>(args, stream);
  }
}
template void plain_attention_backward(const PlainAttention<float>& args, cudaStream_t stream);
template void plain_attention_backward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream);

}  // namespace conclave::kernels::cuda
