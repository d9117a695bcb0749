#include <cuda_bf16.h>

#include "kernels/cross_entropy_backend.h"
#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/dense_product.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/plain_product.h"

namespace conclave::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int64_t kChunkBytes = int64_t{1} << 30;
constexpr int64_t kFewestRows = 512;

/// How T rows are cut. The gradient takes the place of the logits, row by row; bf16 leaves the end of a row unused.
struct ChunkPlan {
  int64_t leading, rows;

  explicit ChunkPlan(const LinearCrossEntropyWork& work) : leading(round_up(work.vocabulary, 8)) {
    const int64_t fitting = kChunkBytes / (leading * static_cast<int64_t>(sizeof(float))) / 128 * 128;
    rows = work.chunk_rows > 0 ? work.chunk_rows : std::max(kFewestRows, fitting);
    rows = std::min(rows, work.rows);
  }
  int64_t logit_bytes() const {
    return round_up(rows * leading * static_cast<int64_t>(sizeof(float)), kDenseWorkspaceAlignment);
  }
  int64_t gradient_leading(DType dtype) const {
    return leading * static_cast<int64_t>(sizeof(float)) / dtype_size(dtype);
  }
};

struct RowArgs {
  float* logits = nullptr;  ///< of the chunk
  int64_t leading = 0;
  int vocabulary = 0;
  // Of the chunk's rows.
  const int32_t* labels = nullptr;
  const float* weights = nullptr;
  float* loss = nullptr;
  uint8_t* correct = nullptr;
  unsigned* largest_magnitude = nullptr;  ///< bits of a float that is not negative
};

/// What a first pass over a row of logits finds.
struct RowFindings {
  float most = -INFINITY, sum = 0;  ///< sum of exponentials relative to `most`
  int where = INT_MAX;              ///< first place of the largest
  unsigned magnitude = 0;           ///< largest |logit|, as bits; NaN is above infinity

  __device__ void take(float x, int at) {
    magnitude = max(magnitude, __float_as_uint(x) & 0x7fffffffu);
    if (x > most) {
      sum = sum * expf(most - x) + 1;
      most = x;
      where = at;
    } else if (x != -INFINITY) {
      sum += expf(x - most);
    }
  }
};

__device__ RowFindings read_row(const float* row, int count) {
  __shared__ float shared[32];
  __shared__ int shared_places[32];
  __shared__ unsigned shared_bits[32];
  RowFindings own;
  const int whole = count / 4;
  for (int i = threadIdx.x; i < whole; i += kThreads) {
    const float4 x = reinterpret_cast<const float4*>(row)[i];
    own.take(x.x, i * 4);
    own.take(x.y, i * 4 + 1);
    own.take(x.z, i * 4 + 2);
    own.take(x.w, i * 4 + 3);
  }
  for (int i = whole * 4 + threadIdx.x; i < count; i += kThreads) own.take(row[i], i);
  RowFindings all;
  all.most = reduce_over_block(own.most, shared, Larger{});
  const float own_sum = own.most == -INFINITY ? own.sum : own.sum * expf(own.most - all.most);
  all.sum = reduce_over_block(own_sum, shared, Add{});
  all.where = -reduce_over_block(own.most == all.most ? -own.where : -INT_MAX, shared_places, Larger{});
  all.magnitude = reduce_over_block(own.magnitude, shared_bits, Larger{});
  return all;
}

__device__ void store(float* to, float value) { *to = value; }
__device__ void store(__nv_bfloat16* to, float value) { *to = __float2bfloat16_rn(value); }

/// From logits to gradients in place. A narrower gradient lands in front of the logits it is made from, so a sweep is
/// read by all before it is written.
template <typename T>
__device__ void write_gradient(float* row, int count, int label, float weight, const RowFindings& found) {
  T* const out = reinterpret_cast<T*>(row);
  const float factor = weight / found.sum;
  for (int first = 0; first < count; first += kThreads * 4) {
    const int at = first + threadIdx.x * 4;
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (at + i >= count) break;
      values[i] = weight == 0 ? 0.0f : expf(row[at + i] - found.most) * factor;
      if (at + i == label && weight != 0) values[i] -= weight;
    }
    if constexpr (sizeof(T) < sizeof(float)) __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (at + i < count) store(out + at + i, values[i]);
  }
}

/// One block per row. A label outside the vocabulary where the row counts makes the loss NaN: the host does not look.
template <typename T>
__global__ void __launch_bounds__(kThreads) row_losses(const RowArgs args) {
  const int64_t r = blockIdx.x;
  float* const row = args.logits + r * args.leading;
  const int label = args.labels[r];
  const bool inside = label >= 0 && label < args.vocabulary;
  const float at_label = inside ? row[label] : 0.0f;
  const float weight = args.weights != nullptr ? args.weights[r] : 0.0f;
  const RowFindings found = read_row(row, args.vocabulary);  // its barriers order this read before the writes below
  if (threadIdx.x == 0) {
    args.loss[r] = inside ? found.most + logf(found.sum) - at_label : (weight != 0 ? NAN : 0.0f);
    if (args.correct != nullptr) args.correct[r] = inside && found.where == label ? 1 : 0;
    if (args.largest_magnitude != nullptr) atomicMax(args.largest_magnitude, found.magnitude);
  }
  if (args.weights != nullptr) write_gradient<T>(row, args.vocabulary, label, weight, found);
}

__global__ void drop_sign(float* value) { *value = fabsf(*value); }

/// Products, losses and gradients of a chunk of rows.
class Chunk {
 public:
  Chunk(const LinearCrossEntropyWork& work, const ChunkPlan& plan, int64_t begin, cudaStream_t stream)
      : work_(work), plan_(plan), begin_(begin), rows_(std::min(plan.rows, work.rows - begin)), stream_(stream) {}

  void run() {
    logits();
    losses();
    if (work_.dbias)
      add_column_sums({.in = work_.hidden.dtype(),
                       .rows = work_.workspace.raw(),
                       .sums = work_.dbias.data<float>(),
                       .experts = 1,
                       .n = work_.vocabulary,
                       .leading = plan_.gradient_leading(work_.hidden.dtype()),
                       .count = rows_},
                      stream_);
    if (work_.dhidden) hidden_gradient();
    if (work_.dweight) weight_gradient();
  }

 private:
  DenseProduct product(int64_t m, int64_t n, int64_t k) const {
    DenseProduct made;
    made.in = made.out = work_.hidden.dtype();
    made.m = m;
    made.n = n;
    made.k = k;
    made.lda = made.ldb = made.ldc = work_.width;
    return made;
  }
  void multiply(const DenseProduct& of) const {
    dense_product(of, work_.workspace.raw() + plan_.logit_bytes(), stream_);
  }
  const std::byte* rows_of(const Tensor& tensor) const {
    return tensor.raw() + begin_ * work_.width * dtype_size(tensor.dtype());
  }

  void logits() const {
    DenseProduct made = product(rows_, work_.vocabulary, work_.width);
    made.out = DType::kF32;
    made.transpose_b = true;
    made.ldc = plan_.leading;
    made.a = rows_of(work_.hidden);
    made.b = work_.weight.raw();
    made.bias = work_.bias ? work_.bias.raw() : nullptr;
    made.c = work_.workspace.raw();
    multiply(made);
  }
  void losses() const {
    RowArgs args;
    args.logits = reinterpret_cast<float*>(work_.workspace.raw());
    args.leading = plan_.leading;
    args.vocabulary = static_cast<int>(work_.vocabulary);
    args.labels = work_.labels.data<int32_t>() + begin_;
    args.weights = work_.row_weight ? work_.row_weight.data<float>() + begin_ : nullptr;
    args.loss = work_.loss.data<float>() + begin_;
    args.correct = work_.greedy_correct ? work_.greedy_correct.data<uint8_t>() + begin_ : nullptr;
    args.largest_magnitude =
        work_.logit_maximum ? reinterpret_cast<unsigned*>(work_.logit_maximum.data<float>()) : nullptr;
    const auto blocks = static_cast<unsigned>(rows_);
    if (work_.hidden.dtype() == DType::kBF16) {
      row_losses<__nv_bfloat16><<<blocks, kThreads, 0, stream_>>>(args);
    } else {
      row_losses<float><<<blocks, kThreads, 0, stream_>>>(args);
    }
    check_launch("linear_cross_entropy");
  }
  void hidden_gradient() const {
    DenseProduct made = product(rows_, work_.width, work_.vocabulary);
    made.lda = plan_.gradient_leading(work_.hidden.dtype());
    made.a = work_.workspace.raw();
    made.b = work_.weight.raw();
    made.c = const_cast<std::byte*>(rows_of(work_.dhidden));
    multiply(made);
  }
  void weight_gradient() const {
    DenseProduct made = product(work_.vocabulary, work_.width, rows_);
    made.out = DType::kF32;
    made.transpose_a = made.add = true;
    made.lda = plan_.gradient_leading(work_.hidden.dtype());
    made.a = work_.workspace.raw();
    made.b = rows_of(work_.hidden);
    made.c = work_.dweight.raw();
    multiply(made);
  }

  const LinearCrossEntropyWork& work_;
  const ChunkPlan& plan_;
  int64_t begin_, rows_;
  cudaStream_t stream_;
};

}  // namespace

int64_t linear_cross_entropy_scratch_bytes(const LinearCrossEntropyWork& work) {
  return work.rows == 0 ? 0 : ChunkPlan(work).logit_bytes() + kDenseWorkspaceBytes;
}

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyWork& work) {
  if (work.rows == 0) return;
  if (work.logit_maximum) drop_sign<<<1, 1, 0, cuda_stream(stream)>>>(work.logit_maximum.data<float>());
  const ChunkPlan plan(work);
  for (int64_t begin = 0; begin < work.rows; begin += plan.rows) Chunk(work, plan, begin, cuda_stream(stream)).run();
}

}  // namespace conclave::kernels::cuda
