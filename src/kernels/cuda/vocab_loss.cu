#include <cuda_bf16.h>

#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/launch.h"
#include "kernels/vocab_loss_backend.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// One block per row in all of these.
__global__ void __launch_bounds__(kThreads) row_maximum(const float* logits, int64_t columns, float* maximum) {
  __shared__ float shared[32];
  const float* const row = logits + blockIdx.x * columns;
  float most = -INFINITY;
  for (int64_t v = threadIdx.x; v < columns; v += kThreads) most = fmaxf(most, row[v]);
  most = reduce_over_block(most, shared, Larger{});
  if (threadIdx.x == 0) maximum[blockIdx.x] = most;
}

struct ExponentialRows {
  float* logits;
  const float* maximum;
  const int32_t* labels;
  float* sums;
  int64_t rows, columns, first_id;
};

__global__ void __launch_bounds__(kThreads) row_exponentials(const ExponentialRows args) {
  __shared__ float shared[32];
  const int64_t r = blockIdx.x, label = args.labels[r] - args.first_id;
  float* const row = args.logits + r * args.columns;
  const float most = args.maximum[r];
  float sum = 0;
  for (int64_t v = threadIdx.x; v < args.columns; v += kThreads) {
    const float above = row[v] - most, e = expf(above);
    if (v == label) args.sums[args.rows + r] = above;
    row[v] = e;
    sum += e;
  }
  sum = reduce_over_block(sum, shared, Add{});
  if (threadIdx.x != 0) return;
  args.sums[r] = sum;
  if (label < 0 || label >= args.columns) args.sums[args.rows + r] = 0;
}

struct LossRows {
  const float* exponentials;
  const float* sums;
  const int32_t* labels;
  const float* weights;
  float* loss;
  void* gradient;
  int64_t rows, columns, first_id, vocabulary;
};

__device__ void store(float* to, float value) { *to = value; }
__device__ void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// A label outside the vocabulary where the row counts makes the loss NaN: the host does not look.
template <typename T>
__global__ void __launch_bounds__(kThreads) row_losses(const LossRows args) {
  const int64_t r = blockIdx.x, label = args.labels[r];
  const float weight = args.weights != nullptr ? args.weights[r] : 0.0f, sum = args.sums[r];
  const bool inside = label >= 0 && label < args.vocabulary;
  if (threadIdx.x == 0) args.loss[r] = inside ? logf(sum) - args.sums[args.rows + r] : (weight != 0 ? NAN : 0.0f);
  if (args.gradient == nullptr) return;
  const float* const row = args.exponentials + r * args.columns;
  T* const out = static_cast<T*>(args.gradient) + r * args.columns;
  const float factor = weight / sum;
  for (int64_t v = threadIdx.x; v < args.columns; v += kThreads) {
    float value = row[v] * factor;
    if (v + args.first_id == label) value -= weight;
    store(out + v, weight == 0 ? 0.0f : value);
  }
}

}  // namespace

void vocab_row_maximum(const Stream& stream, const VocabRowMaximumArgs& args) {
  if (args.logits.size(0) == 0) return;
  row_maximum<<<static_cast<unsigned>(args.logits.size(0)), kThreads, 0, cuda_stream(stream)>>>(
      args.logits.data<float>(), args.logits.size(1), args.maximum.data<float>());
  check_launch("vocab_row_maximum");
}

void vocab_exponentials(const Stream& stream, const VocabExponentialsArgs& args) {
  const ExponentialRows rows{args.logits.data<float>(),
                             args.maximum.data<float>(),
                             args.labels.data<int32_t>(),
                             args.sums.data<float>(),
                             args.logits.size(0),
                             args.logits.size(1),
                             args.first_id};
  if (rows.rows == 0) return;
  row_exponentials<<<static_cast<unsigned>(rows.rows), kThreads, 0, cuda_stream(stream)>>>(rows);
  check_launch("vocab_exponentials");
}

void vocab_loss(const Stream& stream, const VocabLossArgs& args) {
  const LossRows rows{args.exponentials.data<float>(),
                      args.sums.data<float>(),
                      args.labels.data<int32_t>(),
                      args.row_weight ? args.row_weight.data<float>() : nullptr,
                      args.loss.data<float>(),
                      args.gradient ? args.gradient.raw() : nullptr,
                      args.exponentials.size(0),
                      args.exponentials.size(1),
                      args.first_id,
                      args.vocabulary};
  if (rows.rows == 0) return;
  const auto blocks = static_cast<unsigned>(rows.rows);
  if (args.gradient && args.gradient.dtype() == DType::kBF16) {
    row_losses<__nv_bfloat16><<<blocks, kThreads, 0, cuda_stream(stream)>>>(rows);
  } else {
    row_losses<float><<<blocks, kThreads, 0, cuda_stream(stream)>>>(rows);
  }
  check_launch("vocab_loss");
}

}  // namespace conclave::kernels::cuda
